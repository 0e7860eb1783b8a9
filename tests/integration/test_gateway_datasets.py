"""What a dataset holds once it is finalized stays, whoever still has an address to put it to."""

import asyncio
import hashlib
import urllib.request
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest
from linnet.v1 import training_service_pb2 as pb
from linnet_gateway.addresses import Addresses
from linnet_gateway.datasets.files import DatasetFiles
from linnet_gateway.datasets.lifecycle import DatasetRequests
from linnet_gateway.queries import Page
from linnet_gateway.records import DatasetRecord, FileRecord
from linnet_gateway.sql import migrate
from linnet_gateway.sql.store import Records
from linnet_gateway.states import DatasetState
from linnet_runtime.errors import InvalidInput
from linnet_runtime.ids import ResourceName
from linnet_runtime.s3 import S3Location

from tests.fakes.clock import ManualClock
from tests.fakes.gateway import Bench, create_dataset_request, dataset_files, running
from tests.fakes.objectstore import MemoryStore

NAME = ResourceName("demo", "datasets", "watch")


def put(url: str, data: bytes) -> None:
    urllib.request.urlopen(urllib.request.Request(url, data=data, method="PUT")).close()


def read(url: str) -> bytes:
    with urllib.request.urlopen(url) as answer:
        found: bytes = answer.read()
    return found


async def test_an_upload_address_leads_nowhere_once_a_dataset_is_ready(
    tmp_path: Path, s3_location: S3Location
) -> None:
    """What is put there later is no part of it, and what was put there is not kept twice."""
    async with running(tmp_path, s3_location) as bench:
        files = dataset_files()
        made = await bench.call("CreateDataset", create_dataset_request("watch", files))
        for upload in made.uploads:
            await asyncio.to_thread(put, upload.url, files[upload.name])
        finalize = pb.FinalizeDatasetRequest(name=made.dataset.name)
        ready = await bench.call("FinalizeDataset", finalize)
        assert stored(bench) == {file.key for file in ready.files}
        for upload in made.uploads:
            await asyncio.to_thread(put, upload.url, b"Z" * len(files[upload.name]))
        assert await bench.call("FinalizeDataset", finalize) == ready
        download = pb.DownloadDatasetRequest(name=made.dataset.name)
        for address in (await bench.call("DownloadDataset", download)).downloads:
            assert await asyncio.to_thread(read, address.url) == files[address.name]


def stored(bench: Bench) -> set[str]:
    return {info.key for info in bench.store.list("projects/demo/datasets/")}


class WatchedStore(MemoryStore):
    """Does something before or after it copies the first file."""

    def __init__(self) -> None:
        super().__init__()
        self.before: Callable[[], object] | None = None
        self.after: Callable[[], object] | None = None

    def copy(self, source: str, target: str) -> None:
        before, self.before = self.before, None
        if before is not None:
            before()
        super().copy(source, target)
        after, self.after = self.after, None
        if after is not None:
            after()


@pytest.fixture
def store() -> WatchedStore:
    return WatchedStore()


@pytest.fixture
async def records(tmp_path: Path) -> AsyncIterator[Records]:
    url = f"sqlite:///{tmp_path / 'records.db'}"
    migrate.upgrade(url)
    made = Records(url, ManualClock().now)
    yield made
    made.close()


@pytest.fixture
def requests(records: Records, store: WatchedStore) -> DatasetRequests:
    clock = ManualClock()
    return DatasetRequests(records.datasets, DatasetFiles(store), Addresses(store, clock), clock)


async def uploaded(requests: DatasetRequests, store: MemoryStore) -> DatasetRecord:
    files = dataset_files()
    made, uploads = await requests.create(
        project="demo",
        dataset_id="watch",
        display_name="",
        input_kind=1,
        classes=["still", "moving"],
        feature_names=[],
        files=[
            FileRecord(name, "", len(data), hashlib.sha256(data).hexdigest())
            for name, data in files.items()
        ],
    )
    for upload in uploads:
        store.put(upload.url.removeprefix("memory:PUT:"), files[upload.name])
    return made


def spoil(store: MemoryStore, dataset: DatasetRecord) -> None:
    for file in dataset.files:
        store.put(file.key, b"Z" * file.size_bytes)


async def test_what_is_checked_is_what_is_kept(
    requests: DatasetRequests, store: WatchedStore
) -> None:
    """Files that are written over while they are checked make a dataset of what was checked."""
    dataset = await uploaded(requests, store)
    store.after = lambda: store.put(dataset.files[0].key, b"Z" * dataset.files[0].size_bytes)
    ready = await requests.finalize(NAME)
    assert ready.state is DatasetState.READY
    for file in ready.files:
        assert hashlib.sha256(store.get(file.key)).hexdigest() == file.sha256


async def test_two_checks_at_once_leave_a_ready_dataset(
    requests: DatasetRequests, records: Records, store: WatchedStore
) -> None:
    """The one that finds the files spoiled, or gone, after the other's check deletes nothing."""
    dataset = await uploaded(requests, store)
    loop = asyncio.get_running_loop()

    def other() -> None:
        asyncio.run_coroutine_threadsafe(requests.finalize(NAME), loop).result(10)
        spoil(store, dataset)

    store.before = other
    ready = await requests.finalize(NAME)
    assert ready == await records.datasets.get("demo", "watch")
    assert ready.state is DatasetState.READY
    assert list(await records.keeping.doomed(datetime.now(UTC), 10)) == []
    kept = {key for key in store.objects if "/checked-" in key}
    assert kept == {file.key for file in ready.files}


async def test_spoiled_files_are_refused_and_leave_nothing(
    requests: DatasetRequests, records: Records, store: WatchedStore
) -> None:
    """The dataset is deleted, its uploads are doomed, and no copy is left."""
    dataset = await uploaded(requests, store)
    spoil(store, dataset)
    with pytest.raises(InvalidInput):
        await requests.finalize(NAME)
    assert await records.datasets.list("demo", Page(10)) == []
    assert len(await records.keeping.doomed(datetime.now(UTC), 10)) == 1
    assert not any("/checked-" in key for key in store.objects)
