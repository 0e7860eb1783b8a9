"""Pushing datasets and reading artifacts on a real object store."""

import contextlib
import hashlib
import io
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from linnet.v1 import dataset_pb2, run_pb2
from linnet_runtime.errors import Internal, InvalidInput, NotFound, PermissionDenied
from linnet_runtime.s3 import S3Store
from linnet_sdk import Arrays, AsyncClient, Client, ServerAddress
from linnet_sdk.retries import NEVER
from linnet_sdk.transfers import Transfers

from tests.fakes.training_service import FakeTrainingService, serving


@pytest.fixture
def service(s3_store: S3Store) -> FakeTrainingService:
    return FakeTrainingService(s3_store)


@pytest.fixture
def address(service: FakeTrainingService) -> Iterator[ServerAddress]:
    with serving(service) as address:
        yield ServerAddress(address)


def arrays() -> Arrays:
    return Arrays(
        input_kind=dataset_pb2.INPUT_KIND_TABULAR,
        classes=["no", "yes"],
        features=np.arange(12, dtype=np.float64).reshape(6, 2),
        labels=np.array([0, 1, 0, 1, 0, 1]),
        groups=["a", "a", "b", "b", "c", "c"],
        test=np.array([0, 0, 0, 0, 1, 1], dtype=bool),
        validation=np.array([0, 0, 1, 1, 0, 0], dtype=bool),
    )


def test_a_push_stores_what_was_announced(address: ServerAddress, s3_store: S3Store) -> None:
    """Stored files have the announced digests, and hold the arrays as the contract wants them."""
    with Client(address, retry=NEVER) as client:
        dataset = client.push(arrays(), dataset_id="tiny")

    assert dataset.state == dataset_pb2.DATASET_STATE_READY
    stored = {f.name: s3_store.get(f"{dataset.name}/{f.name}") for f in dataset.files}
    assert {n: hashlib.sha256(b).hexdigest() for n, b in stored.items()} == {
        f.name: f.sha256 for f in dataset.files
    }
    features = np.load(io.BytesIO(stored["features.npy"]), allow_pickle=False)
    assert features.dtype == np.float32
    assert features.tolist() == arrays().features.tolist()
    samples = np.load(io.BytesIO(stored["samples.npz"]), allow_pickle=False)
    assert set(samples.files) == {"sample_id", "group", "test", "validation"}
    assert samples["group"].tolist() == ["a", "a", "b", "b", "c", "c"]
    assert samples["validation"].tolist() == [False, False, True, True, False, False]


async def test_the_asyncio_client_pushes_and_downloads(
    address: ServerAddress, tmp_path: Path
) -> None:
    """The asyncio client pushes a dataset and reads an artifact."""
    async with AsyncClient(address, retry=NEVER) as client:
        dataset = await client.push(arrays())
        run = run_pb2.Run()
        run.spec.dataset = dataset.name
        created = await client.create_run(run)
        path = await client.download(created.name, "model.int8.tflite", tmp_path / "m.tflite")

    assert dataset.state == dataset_pb2.DATASET_STATE_READY
    assert path.read_bytes() == b"TFL3 int8"


def test_a_dataset_comes_back_as_it_was_pushed(
    service: FakeTrainingService, address: ServerAddress, s3_store: S3Store, tmp_path: Path
) -> None:
    """Each file is downloaded byte for byte; one that is not as announced leaves no file."""
    with Client(address, retry=NEVER) as client:
        dataset = client.push(arrays(), dataset_id="back")
        paths = client.download_dataset("back", tmp_path / "whole")
        digests = {n: hashlib.sha256(p.read_bytes()).hexdigest() for n, p in paths.items()}
        assert digests == {file.name: file.sha256 for file in dataset.files}
        assert paths["samples.npz"] == tmp_path / "whole" / "samples.npz"

        s3_store.put(f"{dataset.name}/labels.npy", b"something else")
        with pytest.raises(Internal) as raised:
            client.download_dataset("back", tmp_path / "broken")
        assert raised.value.reason == "DIGEST_MISMATCH"
        assert not (tmp_path / "broken" / "labels.npy").exists()

        service.datasets[dataset.name].files[0].name = ".bashrc"
        with pytest.raises(Internal) as raised:
            client.download_dataset("back", tmp_path / "escape")
        assert raised.value.reason == "UNKNOWN_FILE"
        assert not (tmp_path / "escape").exists()


async def test_the_asyncio_client_downloads_a_dataset(
    address: ServerAddress, tmp_path: Path
) -> None:
    """The asyncio client writes every file of a dataset."""
    async with AsyncClient(address, retry=NEVER) as client:
        dataset = await client.push(arrays())
        paths = await client.download_dataset(dataset.name, tmp_path)

    assert set(paths) == {"features.npy", "labels.npy", "samples.npz"}
    assert all(path.stat().st_size for path in paths.values())


def test_the_command_downloads_a_dataset(address: ServerAddress, tmp_path: Path) -> None:
    """`linnet datasets download` writes the files to the folder and names them."""
    with Client(address, retry=NEVER) as client:
        client.push(arrays(), dataset_id="back")
    words = ["datasets", "download", "back", "--to", str(tmp_path), "--json"]
    done = subprocess.run(
        [sys.executable, "-m", "linnet_sdk", *words, "--server", address.target],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)["files"]
    assert set(told) == {"features.npy", "labels.npy", "samples.npz"}
    assert all(Path(path).stat().st_size for path in told.values())


def test_a_refused_dataset_names_the_field(address: ServerAddress) -> None:
    """A dataset of one class is refused with the field's path."""
    one = Arrays(
        input_kind=dataset_pb2.INPUT_KIND_TABULAR,
        classes=["only"],
        features=np.zeros((2, 2)),
        labels=np.zeros(2, dtype=int),
    )
    with Client(address, retry=NEVER) as client, pytest.raises(InvalidInput) as raised:
        client.push(one)

    assert raised.value.violations[0].field == "dataset.classes"


def test_an_artifact_that_does_not_exist_is_told(address: ServerAddress, tmp_path: Path) -> None:
    """Downloading an unknown artifact tells so and leaves no file."""
    with Client(address, retry=NEVER) as client:
        run = client.create_run(run_pb2.Run())
        with pytest.raises(NotFound):
            client.download(run.name, "nothing", tmp_path / "nothing")

    assert list(tmp_path.iterdir()) == []


def test_a_file_that_is_not_what_was_announced_is_dropped(
    s3_store: S3Store, tmp_path: Path
) -> None:
    """A download with another digest than announced raises and leaves no file."""
    from datetime import timedelta

    s3_store.put("a", b"something else")
    request = dataset_pb2.PresignedRequest(
        name="a", url=s3_store.presign("GET", "a", timedelta(minutes=1)), sha256="0" * 64
    )
    with contextlib.closing(Transfers()) as transfers, pytest.raises(Internal) as raised:
        transfers.download(request, tmp_path / "a")

    assert raised.value.reason == "DIGEST_MISMATCH"
    assert list(tmp_path.iterdir()) == []


def test_an_address_for_another_file_is_refused(s3_store: S3Store, tmp_path: Path) -> None:
    """Putting to an address whose signature does not fit is told as PermissionDenied."""
    from datetime import timedelta

    file = tmp_path / "f"
    file.write_bytes(b"1")
    url = s3_store.presign("PUT", "a", timedelta(minutes=1)).replace("/a?", "/b?")
    request = dataset_pb2.PresignedRequest(name="b", method="PUT", url=url)
    with contextlib.closing(Transfers()) as transfers, pytest.raises(PermissionDenied):
        transfers.upload(request, file)
