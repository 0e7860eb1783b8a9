"""A batch of 10,000 runs in 200 shards without a cluster, one JSON line a figure.

Trainers are simulated over RunnerService by a process of their own, analysis and the files of
trainings are stubbed: what is left is the gateway, from the accepted specs to the last record.
"""

import asyncio
import contextlib
import json
import os
import sqlite3
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))
sys.path.insert(0, str(Path(__file__).with_name("load")))

import absent_store
import grpc
from batch_trainers import NAMES
from linnet.v1 import batch_pb2, training_service_pb2_grpc
from linnet.v1 import training_service_pb2 as pb
from linnet_gateway.sql.store import Records
from linnet_gateway.states import RunState
from linnet_gateway.trainers.tokens import LaunchClaim, Tokens
from linnet_runtime.s3 import S3Location, S3Store

from tests.fakes.analysts import FakeAnalysts
from tests.fakes.analysts import serving as analysts_serving
from tests.fakes.gateway import (
    PARENT,
    Bench,
    GatewayProcess,
    a_spec,
    settings_for,
    stop_trainers,
    until,
)

RUNS = 10_000
SHARDS = 200
EPOCH_S = 0.05
LIMIT_S = 300.0
SUCCEEDED = int(RunState.SUCCEEDED)
CLIENTS = Path(__file__).with_name("load") / "batch_trainers.py"


def tell(name: str, value: float, unit: str, goal: float) -> None:
    """Print one figure; smaller is better."""
    line = {"name": f"scale.{name}", "value": round(value, 3), "unit": unit, "goal": goal}
    print(json.dumps(line | {"ok": value <= goal}), flush=True)


def memory_mb(pid: int) -> float:
    """Give the resident memory of a process."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    raise AssertionError(pid)


def cpu_s(pid: int) -> float:
    """Give the processor time that a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@dataclass
class World:
    """A gateway, its stubs and the process with its trainers."""

    folder: Path
    bench: Bench
    process: GatewayProcess
    trainers: asyncio.subprocess.Process
    tokens: Tokens

    async def begin(self, launch: str, shard: int) -> None:
        """Let the trainer of a shard begin."""
        now = datetime.now(UTC)
        token = self.tokens.for_launch(LaunchClaim(launch), now, timedelta(hours=1))
        order = {"launch": launch, "shard": shard, "token": token, "epoch_s": EPOCH_S}
        assert self.trainers.stdin is not None
        self.trainers.stdin.write(json.dumps(order).encode() + b"\n")
        await self.trainers.stdin.drain()

    def launches(self) -> dict[str, int]:
        """Give the shards of every launch that was issued."""
        path = self.folder / "records.db"
        with contextlib.closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as database:
            rows = database.execute("SELECT uid, shard_count FROM launches WHERE state = 2")
            return dict(rows.fetchall())

    async def submit(self, name: str, runs: int, shards: int) -> float:
        """Stream a batch in and give the moment at which the last spec was acknowledged."""
        batch = batch_pb2.Batch(shard_size=runs // shards, parallelism=shards)
        header = pb.BatchHeader(parent=PARENT, batch_id=name, batch=batch)
        messages = [pb.CreateBatchRequest(header=header)]
        for first in range(0, runs, 500):
            chunk = pb.CreateBatchRequest()
            for index in range(first, min(first + 500, runs)):
                chunk.runs.add(spec=a_spec(3)).spec.fit.seed = index + 1
            messages.append(chunk)
        messages.append(pb.CreateBatchRequest(complete=True))
        async for _ in self.bench.stub.CreateBatch(iter(messages)):
            pass
        return time.monotonic()

    async def counts(self, name: str) -> dict[int, int]:
        """Count the runs of a batch by state."""
        found = await self.bench.call(
            "GetBatch", pb.GetBatchRequest(name=f"{PARENT}/batches/{name}")
        )
        return {int(c.state): c.run_count for c in found.run_counts}

    async def until_ended(self, name: str, runs: int) -> None:
        """Wait until every run of a batch has succeeded."""

        async def ended() -> bool:
            return (await self.counts(name)).get(SUCCEEDED, 0) == runs

        await until(ended, LIMIT_S)


@asynccontextmanager
async def world(folder: Path, **settings: Any) -> AsyncIterator[World]:
    """Start everything; trainers wait to be told which shard begins."""
    async with absent_store.serving(NAMES) as (_, endpoint):
        location = S3Location(endpoint, "key", "secret", absent_store.BUCKET)
        async with analysts_serving(FakeAnalysts()) as analysts:
            more: dict[str, Any] = {"heartbeat_s": 3600.0, "rate_per_s": 1e6, "rate_burst": 1e6}
            chosen = settings_for(folder, location, analysts, **(more | settings))
            process = GatewayProcess(chosen, folder)
            await process.start()
            trainers = await asyncio.create_subprocess_exec(
                sys.executable,
                str(CLIENTS),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
            )
            assert trainers.stdin is not None
            trainers.stdin.write(json.dumps({"runner": process.runner}).encode() + b"\n")
            records = Records(f"sqlite:///{folder / 'records.db'}", lambda: datetime.now(UTC))
            tokens = Tokens(await records.secrets.key("tokens"))
            records.close()
            async with grpc.aio.insecure_channel(process.address) as channel:
                stub = training_service_pb2_grpc.TrainingServiceStub(channel)
                bench = Bench(folder, stub, FakeAnalysts(), S3Store(location), {})
                try:
                    await bench.push()
                    yield World(folder, bench, process, trainers, tokens)
                finally:
                    trainers.kill()
                    await trainers.wait()
                    await process.stop()


async def measured_batch(here: World) -> None:
    """Submit, train, and print what it took."""
    used = cpu_s(here.process.pid)
    accepted = await here.submit("big", RUNS, SHARDS)
    tell("accept_cpu_a_run", (cpu_s(here.process.pid) - used) * 1e3 / RUNS, "ms", 1)
    used = cpu_s(here.process.pid)

    async def launched() -> bool:
        return bool(here.launches())

    await until(launched, 60)
    for launch, shards in here.launches().items():
        for shard in range(shards):
            await here.begin(launch, shard)
    await here.until_ended("big", RUNS)
    seconds = time.monotonic() - accepted
    tell("cpu_a_run", (cpu_s(here.process.pid) - used) * 1e3 / RUNS, "ms", 5.0)
    tell("accepted_to_last_terminal", seconds, "s", 120.0)
    tell("memory", memory_mb(here.process.pid), "MB", 300)


async def main() -> None:
    """Run the batch on a gateway of its own; a launch's processes only stand for its pods."""
    idle = {"trainer_command": ("/bin/sleep", "600"), "process_shards": SHARDS}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        try:
            async with world(folder, **idle) as here:
                await measured_batch(here)
        finally:
            await stop_trainers(folder / "launches")


if __name__ == "__main__":
    asyncio.run(main())
