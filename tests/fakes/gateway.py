"""A whole gateway inside the test, with real SQL, S3 and gRPC, and trainers without TensorFlow."""

import asyncio
import hashlib
import json
import sys
import tempfile
import urllib.request
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import grpc
import numpy as np
from linnet.v1 import (
    dataset_pb2,
    run_pb2,
    spec_pb2,
    training_service_pb2,
    training_service_pb2_grpc,
)
from linnet_gateway.assembly import Gateway
from linnet_gateway.process.launcher import ProcessLauncher, ProcessSettings
from linnet_gateway.settings import GatewaySettings
from linnet_gateway.sql import migrate
from linnet_ml import npy
from linnet_ml.samples import Samples, samples_bytes
from linnet_runtime.clock import SystemClock
from linnet_runtime.rpc.status import from_rpc_error
from linnet_runtime.s3 import S3Location, S3Store

from tests.fakes.analysts import FakeAnalysts, serving

pb = training_service_pb2
TRAINER = Path(__file__).with_name("trainer_process.py")
PARENT = "projects/demo"


def settings_for(folder: Path, location: S3Location, analysts: str, **more: Any) -> GatewaySettings:
    """Give the settings of a gateway that keeps everything in a folder."""
    values: dict[str, Any] = {
        "database_url": f"sqlite:///{folder / 'records.db'}",
        "store_endpoint": location.endpoint,
        "store_access_key": location.access_key,
        "store_secret_key": location.secret_key,
        "store_bucket": location.bucket,
        "evaluator_address": analysts,
        "profiler_address": analysts,
        "sweep_delay_s": 0.0,
        "process_folder": folder / "launches",
        "trainer_command": (sys.executable, str(TRAINER), str(folder / "control.json")),
    }
    return GatewaySettings(**(values | more))


@dataclass
class Bench:
    """A running gateway and what tests do with it."""

    folder: Path
    stub: Any  # the stub's own types know the blocking calls only
    analysts: FakeAnalysts
    store: S3Store
    endpoints: dict[str, str]
    metadata: list[tuple[str, str]] = field(default_factory=list)

    def control(self, **values: Any) -> None:
        """Tell trainers what to do; see trainer_process.py."""
        new = self.folder / "control.json.new"
        new.write_text(json.dumps(values))
        new.replace(self.folder / "control.json")

    async def call(self, method: str, request: Any) -> Any:
        """Call a method; raises the LinnetError that it answers with."""
        try:
            return await getattr(self.stub, method)(request, metadata=self.metadata, timeout=30)
        except grpc.RpcError as error:
            raise from_rpc_error(error) from error

    async def push(self, name: str = "watch", **changes: Any) -> dataset_pb2.Dataset:
        """Create, upload and finalize a small dataset of two classes."""
        files = dataset_files(**changes)
        response = await self.call("CreateDataset", create_dataset_request(name, files))
        for upload in response.uploads:
            put = urllib.request.Request(upload.url, data=files[upload.name], method="PUT")
            await asyncio.to_thread(_send, put)
        found: dataset_pb2.Dataset = await self.call(
            "FinalizeDataset", pb.FinalizeDatasetRequest(name=response.dataset.name)
        )
        return found

    async def submit(self, run_id: str = "", *, epochs: int = 3, **more: Any) -> run_pb2.Run:
        """Create a run on the dataset `watch`."""
        request = pb.CreateRunRequest(
            parent=PARENT, run_id=run_id, run=run_pb2.Run(spec=a_spec(epochs=epochs)), **more
        )
        found: run_pb2.Run = await self.call("CreateRun", request)
        return found

    async def get(self, name: str) -> run_pb2.Run:
        """Read a run."""
        found: run_pb2.Run = await self.call("GetRun", pb.GetRunRequest(name=name))
        return found

    async def until_state(
        self, name: str, *states: run_pb2.RunState.ValueType, seconds: float = 60.0
    ) -> run_pb2.Run:
        """Wait until a run is in one of the states."""
        found: list[run_pb2.Run] = []

        async def there() -> bool:
            run = await self.get(name)
            found[:] = [run]
            return run.state in states

        await until(there, seconds)
        return found[0]


def _send(request: urllib.request.Request) -> None:
    urllib.request.urlopen(request).close()


def a_spec(epochs: int = 3) -> spec_pb2.TrainingSpec:
    """Give the spec of a small dense network."""
    spec = spec_pb2.TrainingSpec(dataset=f"{PARENT}/datasets/watch")
    spec.fit.epochs = epochs
    spec.architecture.preset = "dense"
    return spec


def dataset_files(
    features: Any = None, labels: Any = None, groups: bool = False, **raw: bytes
) -> dict[str, bytes]:
    """Give the files of a dataset of 40 rows, 4 columns and two classes."""
    features = np.arange(160, dtype=np.float32).reshape(40, 4) if features is None else features
    labels = np.arange(40) % 2 if labels is None else labels
    files = {"features.npy": npy.to_bytes(features), "labels.npy": npy.to_bytes(labels)}
    if groups:
        names = np.array([f"p{i // 4}" for i in range(40)])
        files["samples.npz"] = samples_bytes(Samples(group=names))
    return files | {name.replace("_", "."): data for name, data in raw.items()}


def create_dataset_request(name: str, files: dict[str, bytes]) -> pb.CreateDatasetRequest:
    """Ask for a dataset with these files."""
    return pb.CreateDatasetRequest(
        parent=PARENT,
        dataset_id=name,
        dataset=dataset_pb2.Dataset(
            input_kind=dataset_pb2.INPUT_KIND_TABULAR, classes=["still", "moving"]
        ),
        files=[
            dataset_pb2.StoredFile(
                name=name, size_bytes=len(data), sha256=hashlib.sha256(data).hexdigest()
            )
            for name, data in files.items()
        ],
    )


async def until(condition: Callable[[], Awaitable[bool]], seconds: float = 60.0) -> None:
    """Ask again and again until the condition holds."""
    async with asyncio.timeout(seconds):
        while not await condition():  # noqa: ASYNC110 - what is awaited has no event to wait for
            await asyncio.sleep(0.05)


@cache
def _migrated() -> bytes:
    """Make a database with tables and no rows, once for all gateways of a process."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "records.db"
        migrate.upgrade(f"sqlite:///{path}")
        return path.read_bytes()


@asynccontextmanager
async def running(folder: Path, location: S3Location, **more: Any) -> AsyncIterator[Bench]:
    """Run a gateway with fake analysts; its trainers end with it."""
    analysts = FakeAnalysts(S3Store(location))
    async with (
        serving(analysts) as address,
        running_with(analysts, address, folder, location, **more) as bench,
    ):
        yield bench


@asynccontextmanager
async def running_with(
    analysts: FakeAnalysts, address: str, folder: Path, location: S3Location, **more: Any
) -> AsyncIterator[Bench]:
    """Run a gateway with analysts that are served already; its trainers end with it."""
    database = folder / "records.db"
    if "database_url" not in more and not database.exists():
        database.write_bytes(_migrated())
    settings = settings_for(folder, location, address, **more)
    try:
        async with (
            Gateway(settings, SystemClock()) as gateway,
            grpc.aio.insecure_channel(gateway.endpoints["address"]) as channel,
        ):
            stub = training_service_pb2_grpc.TrainingServiceStub(channel)
            yield Bench(folder, stub, analysts, S3Store(location), gateway.endpoints)
    finally:
        await stop_trainers(folder / "launches")


async def stop_trainers(launches: Path) -> None:
    """End every trainer that outlived its gateway."""
    launcher = ProcessLauncher(ProcessSettings(folder=launches, grace_s=0.5), SystemClock())
    task = asyncio.create_task(launcher.run())
    for uid in await launcher.statuses():
        await launcher.stop(uid)

    async def gone() -> bool:
        return not await launcher.statuses()

    await until(gone)
    task.cancel()
