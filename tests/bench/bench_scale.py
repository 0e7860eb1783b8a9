"""A batch of 10,000 runs in 200 shards on Kubernetes, one JSON line a figure.

Pods are KWOK's: the API server, scheduler and controllers of the testbed are real, what runs in
pods is not. Trainers are simulated over RunnerService by a process of their own, analysis and the
files of trainings are stubbed: what is left is Kubernetes and the gateway, from the accepted specs
to the last record.

`cpu_a_run` is what the gateway needs from the last accepted spec to the last record,
`accept_cpu_a_run` what it needs to accept one; `cpu_a_run_in_all` is their sum, against 5 ms. Since
processor time depends on the machine, beside it stands what a bare grpc.aio server needs for one
unary call there, before and after (`echo_cpu_a_call`), and the sum as a number of such calls
(`cpu_a_run_in_echo_calls`): that one can be compared between machines. Neither has a goal.

Runs where the testbed runs (Linux, root, Go); starts it, and stops it if it started it.
"""

import asyncio
import contextlib
import json
import os
import sqlite3
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))

import grpc
from linnet.v1 import batch_pb2, training_service_pb2_grpc
from linnet.v1 import training_service_pb2 as pb
from linnet_gateway.sql.store import Records
from linnet_gateway.states import RunState
from linnet_gateway.trainers.tokens import LaunchClaim, Tokens
from linnet_runtime.s3 import S3Location, S3Store

from tests.bench.load import absent_store, echo
from tests.bench.load.batch_trainers import NAMES
from tests.bench.load.fake_cluster import FakeCluster, started
from tests.fakes.analysts import FakeAnalysts
from tests.fakes.analysts import serving as analysts_serving
from tests.fakes.gateway import PARENT, Bench, a_spec, settings_for, until
from tests.fakes.gateway_process import GatewayProcess

RUNS = int(os.environ.get("LINNET_SCALE_RUNS", "10000"))
SHARDS = max(RUNS // 50, 1)
ROUNDS = 3
"""Bare Jobs, of which the median counts."""
BATCHES = 50
BATCH_RUNS = max(RUNS // 500, 2)
EPOCH_S = 0.05
START_S = 6.0
"""From a pod's start to its trainer's first call: TensorFlow's import, as measured on 2 cores."""
LIMIT_S = 400.0
SUCCEEDED = int(RunState.SUCCEEDED)
CLIENTS = Path(__file__).with_name("load") / "batch_trainers.py"


def tell(name: str, value: float, unit: str, goal: float) -> None:
    """Print one figure; smaller is better."""
    line = {"name": f"scale.{name}", "value": round(value, 3), "unit": unit, "goal": goal}
    print(json.dumps(line | {"ok": value <= goal}), flush=True)


def mention(name: str, value: float, unit: str) -> None:
    """Print one figure that has no goal."""
    line = {"name": f"scale.{name}", "value": round(value, 3), "unit": unit, "goal": None}
    print(json.dumps(line | {"ok": True}), flush=True)


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


class Trainers:
    """The process with the simulated trainers."""

    def __init__(
        self, process: asyncio.subprocess.Process, tokens: Tokens, place: FakeCluster
    ) -> None:
        self._process = process
        self._tokens = tokens
        self._place = place
        self.shards_ended = 0

    async def begin(self, launch: str, shard: int) -> None:
        """Let the trainer of a shard start."""
        now = datetime.now(UTC)
        token = self._tokens.for_launch(LaunchClaim(launch), now, timedelta(hours=1))
        order = {"launch": launch, "shard": shard, "token": token}
        self._send(order | {"epoch_s": EPOCH_S, "start_s": START_S})

    async def follow(self) -> None:
        """Let the pod of each shard that has no run left succeed, until cancelled."""
        assert self._process.stdout is not None
        async for line in self._process.stdout:
            ended = json.loads(line)
            await self._place.end(ended["launch"], ended["shard"])
            self.shards_ended += 1

    def _send(self, order: dict[str, Any]) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(order).encode() + b"\n")


@dataclass
class World:
    """A gateway, its stubs, its pods and the process with its trainers."""

    folder: Path
    bench: Bench
    process: GatewayProcess
    place: FakeCluster
    trainers: Trainers

    async def launch_of(self, batch: str) -> str:
        """Wait until a batch has its launch, and give that."""
        path = self.folder / "records.db"
        query = "SELECT uid FROM launches WHERE batch_id = ?"
        found: list[str] = []

        async def planned() -> bool:
            with contextlib.closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as database:
                found[:] = [row[0] for row in database.execute(query, (batch,))]
            return bool(found)

        await until(planned, LIMIT_S)
        (launch,) = found
        return launch

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

    async def until_ended(self, name: str, runs: int) -> None:
        """Wait until every run of a batch has succeeded; asks rarely, since asking costs too."""
        request = pb.GetBatchRequest(name=f"{PARENT}/batches/{name}")
        async with asyncio.timeout(LIMIT_S):
            while True:
                found = await self.bench.call("GetBatch", request)
                states = {int(c.state): c.run_count for c in found.run_counts}
                if states.get(SUCCEEDED, 0) == runs:
                    return
                assert not {s for s in states if RunState(s).terminal} - {SUCCEEDED}, states
                await asyncio.sleep(0.5)


@asynccontextmanager
async def world(folder: Path, place: FakeCluster) -> AsyncIterator[World]:
    """Start everything; the trainer of a shard starts when its pod runs."""
    async with AsyncExitStack() as stack:
        _, endpoint = await stack.enter_async_context(absent_store.serving(NAMES))
        location = S3Location(endpoint, "key", "secret", absent_store.BUCKET)
        analysts = await stack.enter_async_context(analysts_serving(FakeAnalysts()))
        more: dict[str, Any] = {"heartbeat_s": 3600.0, "rate_per_s": 1e6, "rate_burst": 1e6}
        chosen = settings_for(folder, location, analysts, launcher="kubernetes", **more)
        process = GatewayProcess(chosen, folder)
        await process.start()
        stack.push_async_callback(process.stop)
        clients = await asyncio.create_subprocess_exec(
            sys.executable,
            str(CLIENTS),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
        )
        assert clients.stdin is not None
        clients.stdin.write(json.dumps({"runner": process.runner}).encode() + b"\n")
        stack.push_async_callback(clients.wait)
        stack.callback(clients.kill)
        records = Records(f"sqlite:///{folder / 'records.db'}", lambda: datetime.now(UTC))
        trainers = Trainers(clients, Tokens(await records.secrets.key("tokens")), place)
        records.close()
        channel = await stack.enter_async_context(grpc.aio.insecure_channel(process.address))
        stub = training_service_pb2_grpc.TrainingServiceStub(channel)
        bench = Bench(folder, stub, FakeAnalysts(), S3Store(location), {})
        await bench.push()
        for work in (place.follow(trainers.begin), trainers.follow()):
            stack.callback(asyncio.create_task(work).cancel)
        yield World(folder, bench, process, place, trainers)


async def one_batch(here: World, bare_s: float) -> None:
    """Submit, train, and print what it took."""
    pid = here.process.pid
    before_ms = await echo.cpu_ms_a_call()
    used = cpu_s(pid)
    asked = await here.place.requests(here.process.metrics)
    accepted = await here.submit("big", RUNS, SHARDS)
    accept_ms = (cpu_s(pid) - used) * 1e3 / RUNS
    tell("accept_cpu_a_run", accept_ms, "ms", 1)
    used = cpu_s(pid)
    running = await here.place.until_running(await here.launch_of("big"), SHARDS)
    tell("accepted_to_last_running", running - accepted, "s", 120.0)
    tell("accepted_to_last_running_ratio", (running - accepted) / bare_s, "ratio", 2.0)
    await here.until_ended("big", RUNS)
    tell("last_running_to_last_terminal", time.monotonic() - running, "s", 120.0)
    work_ms = (cpu_s(pid) - used) * 1e3 / RUNS
    tell("cpu_a_run", work_ms, "ms", 5.0)
    tell("cpu_a_run_in_all", accept_ms + work_ms, "ms", 5.0)
    tell("memory", memory_mb(pid), "MB", 300)
    requests = await here.place.requests(here.process.metrics) - asked
    tell("api_requests_a_shard", requests / SHARDS, "requests", 3.0)
    echo_ms = statistics.fmean([before_ms, await echo.cpu_ms_a_call()])
    mention("echo_cpu_a_call", echo_ms, "ms")
    mention("cpu_a_run_in_echo_calls", (accept_ms + work_ms) / echo_ms, "calls")


async def many_batches(here: World) -> None:
    """Fifty batches at once: what they need beside what one large batch did."""
    before = memory_mb(here.process.pid)
    names = [f"small-{number}" for number in range(BATCHES)]
    begun = time.monotonic()
    await asyncio.gather(*(here.submit(name, BATCH_RUNS, 2) for name in names))
    await asyncio.gather(*(here.until_ended(name, BATCH_RUNS) for name in names))
    tell(f"{BATCHES}_batches_at_once", time.monotonic() - begun, "s", 120.0)
    growth = memory_mb(here.process.pid) - before
    tell(f"{BATCHES}_batches_memory_growth", growth, "MB", 16)


async def measure(place: FakeCluster) -> None:
    """Print every figure."""
    with tempfile.TemporaryDirectory() as name:
        async with place, world(Path(name), place) as here:
            bare_s = statistics.median([await place.bare(SHARDS) for _ in range(ROUNDS)])
            tell("bare_job_to_last_running", bare_s, "s", 120.0)
            await one_batch(here, bare_s)
            await many_batches(here)


def main() -> None:
    """Measure on the testbed."""
    with started() as place:
        asyncio.run(measure(place))


if __name__ == "__main__":
    main()
