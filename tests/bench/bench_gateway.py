"""Speed of the gateway, one JSON line a figure; `python tests/bench/bench_gateway.py [part ...]`.

Parts: start, accept, pages, live. The gateway is a process of its own on SQLite, the object store
a real SeaweedFS; trainers and watchers are gRPC clients of this process.
"""

import asyncio
import json
import os
import statistics
import sys
import tempfile
import time
import urllib.request
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))

import grpc
from linnet.v1 import (
    run_pb2,
    runner_service_pb2,
    runner_service_pb2_grpc,
    training_service_pb2_grpc,
)
from linnet.v1 import training_service_pb2 as pb
from linnet_gateway import attempts
from linnet_gateway.records import LaunchRecord, LaunchState, RunRecord
from linnet_gateway.sql import schema
from linnet_gateway.sql.codec import run_row
from linnet_gateway.sql.store import Records
from linnet_gateway.states import RunState
from linnet_gateway.tokens import RunClaim, Tokens
from linnet_runtime.s3 import S3Location, S3Store

from tests.conftest import running_seaweed
from tests.fakes.gateway import PARENT, Bench, GatewayProcess, a_spec, spawned

SPECS = 10_000
STORED_RUNS = 100_000
LIVE_RUNS = 1_000
LIVE_S = 20.0


def tell(name: str, value: float, unit: str, goal: float) -> None:
    """Print one figure; smaller is better."""
    line = {"name": f"gateway.{name}", "value": round(value, 3), "unit": unit, "goal": goal}
    print(json.dumps(line | {"ok": value <= goal}), flush=True)


def percentile(values: Sequence[float], share: float) -> float:
    """Give the value below which that share of the values lies."""
    return sorted(values)[min(len(values) - 1, int(len(values) * share))]


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


async def start(_bench: Bench, process: GatewayProcess) -> None:
    """Start-up and memory of an idle gateway."""
    seconds, used = [], []
    for _ in range(3):
        await process.stop()
        begun = time.perf_counter()
        await process.start()
        seconds.append(time.perf_counter() - begun)
        used.append(cpu_s(process.pid))
    tell("start", statistics.median(seconds), "s", 2.0)
    tell("start_cpu", statistics.median(used), "s", 2.0)
    tell("idle_memory", memory_mb(process.pid), "MB", 170)


async def accept(bench: Bench, process: GatewayProcess) -> None:
    """10,000 different specs over one stream, each chunk durable before it is acknowledged."""
    await bench.push()
    messages = [pb.CreateBatchRequest(header=pb.BatchHeader(parent=PARENT, batch_id="accept"))]
    for first in range(0, SPECS, 500):
        chunk = pb.CreateBatchRequest()
        for index in range(first, first + 500):
            run = chunk.runs.add(spec=a_spec(3), labels={"line": f"{index}"})
            run.spec.fit.seed = index + 1
        messages.append(chunk)
    used = cpu_s(process.pid)
    begun = time.perf_counter()
    accepted = 0
    async for answer in bench.stub.CreateBatch(iter(messages)):
        accepted = answer.accepted_count
    assert accepted == SPECS, accepted
    tell("accept_10000_specs", time.perf_counter() - begun, "s", 10.0)
    tell("accept_10000_specs_cpu", cpu_s(process.pid) - used, "s", 10.0)
    await bench.call("CancelBatch", pb.CancelBatchRequest(name=f"{PARENT}/batches/accept"))


def stored_run(index: int, now: datetime) -> RunRecord:
    """Give a terminal run like many others."""
    spec = a_spec(3).SerializeToString()
    created = now - timedelta(seconds=STORED_RUNS - index)
    return RunRecord(
        uid=f"s{index:07}",
        project="demo",
        id=f"stored-{index}",
        create_time=created,
        update_time=created,
        spec=spec,
        spec_digest="d" * 64,
        dataset="watch",
        target="cortex-m4f-80mhz",
        labels={"line": str(index % 100)},
        state=RunState.SUCCEEDED,
        end_time=created + timedelta(seconds=30),
        summary=run_pb2.RunSummary(parameter_count=100).SerializeToString(),
    )


async def fill(url: str) -> None:
    """Put 100,000 terminal runs into the records."""
    records = Records(url, lambda: datetime.now(UTC))
    now = datetime.now(UTC)
    for first in range(0, STORED_RUNS, 5000):
        rows = [run_row(stored_run(i, now)) for i in range(first, first + 5000)]
        await records.database.write(partial(_insert, rows=rows))
    records.close()


def _insert(connection: Any, *, rows: list[dict[str, Any]]) -> None:
    connection.execute(schema.runs.insert(), rows)


async def timed(call: Callable[[], Awaitable[object]]) -> float:
    """Give the seconds that a call takes."""
    begun = time.perf_counter()
    await call()
    return time.perf_counter() - begun


async def pages(bench: Bench, process: GatewayProcess) -> None:
    """Lists and reads at 100,000 runs, while the metrics are scraped; then a restart."""
    await process.stop()
    await fill(f"sqlite:///{bench.folder / 'records.db'}")
    seconds = []
    for _ in range(3):
        begun = time.perf_counter()
        await process.start()
        seconds.append(time.perf_counter() - begun)
        await process.stop()
    tell("restart_100000_runs", statistics.median(seconds), "s", 3.0)
    await process.start()
    await bench.call("ListTargets", pb.ListTargetsRequest())
    listed, token = [], ""
    for _ in range(100):
        request = pb.ListRunsRequest(parent=PARENT, page_size=100, page_token=token)
        begun = time.perf_counter()
        token = (await bench.call("ListRuns", request)).next_page_token
        listed.append((time.perf_counter() - begun) * 1000)
    tell("list_page_100_p99", percentile(listed, 0.99), "ms", 20.0)
    tell("list_page_100_p50", statistics.median(listed), "ms", 20.0)
    read: list[float] = []

    async def get(index: int) -> None:
        request = pb.GetRunRequest(name=f"{PARENT}/runs/stored-{index * 37 % STORED_RUNS}")
        read.append(1000 * await timed(partial(bench.stub.GetRun, request)))

    scraping = asyncio.create_task(scrape(process))
    tasks = []
    begun = time.perf_counter()
    for index in range(2000):
        await asyncio.sleep(max(0.0, begun + index / 200 - time.perf_counter()))
        tasks.append(asyncio.create_task(get(index)))
    await asyncio.gather(*tasks)
    scraping.cancel()
    tell("get_run_p99_at_200_per_s", percentile(read, 0.99), "ms", 5.0)
    tell("get_run_p50_at_200_per_s", statistics.median(read), "ms", 5.0)


async def scrape(process: GatewayProcess) -> None:
    """Read /metrics each second."""
    while True:
        await asyncio.to_thread(lambda: urllib.request.urlopen(process.metrics).read())
        await asyncio.sleep(1.0)


async def live(bench: Bench, process: GatewayProcess) -> None:
    """1,000 trainers that report each second and 1,000 watchers."""
    await bench.push()
    await process.stop()
    claims, key = await live_runs(f"sqlite:///{bench.folder / 'records.db'}")
    await process.start()
    tokens = Tokens(key)
    delays: list[float] = []
    stop = asyncio.Event()
    options = [("grpc.use_local_subchannel_pool", 1)]
    channels = [grpc.aio.insecure_channel(process.address, options=options) for _ in range(10)]
    runners = [grpc.aio.insecure_channel(process.runner, options=options) for _ in range(10)]
    watchers = [
        asyncio.create_task(watch(channels[i % 10], f"{PARENT}/runs/live-{i}", delays))
        for i in range(LIVE_RUNS)
    ]
    trainers = [
        asyncio.create_task(train(runners[i % 10], tokens, claim, i / LIVE_RUNS, stop))
        for i, claim in enumerate(claims)
    ]
    await asyncio.sleep(10.0)
    delays.clear()
    used, begun = cpu_s(process.pid), time.perf_counter()
    await asyncio.sleep(LIVE_S)
    elapsed = time.perf_counter() - begun
    cores = (cpu_s(process.pid) - used) / elapsed
    memory = memory_mb(process.pid)
    rate = len(delays) / elapsed
    tell("live_cpu_an_event", cores * 1000 / max(rate, 1), "ms", 1.0)
    stop.set()
    for task in watchers + trainers:
        task.cancel()
    await asyncio.gather(*watchers, *trainers, return_exceptions=True)
    for channel in channels + runners:
        await channel.close()
    tell("live_1000_cores", cores, "cores", 1.0)
    tell("live_1000_memory", memory, "MB", 300)
    tell("live_1000_event_delay_p99", percentile(delays, 0.99) * 1000, "ms", 500)
    print(json.dumps({"name": "gateway.live_1000_events", "value": round(rate), "unit": "1/s"}))


async def live_runs(url: str) -> tuple[list[RunClaim], bytes]:
    """Make 1,000 runs that trainers hold."""
    now = datetime.now(UTC)
    records = Records(url, lambda: datetime.now(UTC))
    launch = LaunchRecord(
        uid="l-live",
        project="demo",
        create_time=now,
        state=LaunchState.PLANNED,
        shard_count=LIVE_RUNS,
        parallelism=1,
        cpu_millis=1,
        memory_bytes=1,
        deadline=None,
        expert=False,
        spec_digest="x",
    )
    rows, claims = [], []
    for index in range(LIVE_RUNS):
        run = stored_run(index, now)
        run = replace(
            run, uid=f"v{index}", id=f"live-{index}", state=RunState.QUEUED, end_time=None
        )
        run = replace(run, launch_uid=launch.uid, shard=index, create_time=now)
        rows.append(run_row(attempts.begin_attempt(run, now + timedelta(hours=1))))
        claims.append(RunClaim(f"v{index}", 1, launch.uid))
    await records.database.write(partial(_insert, rows=rows))
    key = await records.secrets.key("tokens")
    records.close()
    return claims, key


async def watch(channel: grpc.aio.Channel, name: str, delays: list[float]) -> None:
    """Follow a run and note how old each epoch is when it comes."""
    stub = training_service_pb2_grpc.TrainingServiceStub(channel)
    async for update in stub.WatchRun(pb.WatchRunRequest(name=name)):
        now = time.time()
        # The time at which it was sent stands where the epoch's own seconds would.
        delays += [now - epoch.seconds for epoch in update.epochs]


async def train(
    channel: grpc.aio.Channel, tokens: Tokens, claim: RunClaim, offset: float, stop: asyncio.Event
) -> None:
    """Report one epoch each second."""
    token = tokens.for_run(claim, datetime.now(UTC), timedelta(hours=1))
    stub = runner_service_pb2_grpc.RunnerServiceStub(channel)
    call = stub.Report(metadata=[("authorization", f"Bearer {token}")])
    await call.read()
    sequence = 0
    begun = time.perf_counter() + offset
    while not stop.is_set():
        await asyncio.sleep(max(0.0, begun + sequence - time.perf_counter()))
        sequence += 1
        epoch = run_pb2.Epoch(number=sequence, loss=0.5, accuracy=0.5, seconds=time.time())
        entry = run_pb2.LogEntry(sequence=sequence, epoch=epoch)
        await call.write(
            runner_service_pb2.ReportRequest(
                entries=[entry], phase=run_pb2.TRAINER_PHASE_FITTING, memory_bytes=1
            )
        )
        await call.read()


PARTS = {"start": start, "accept": accept, "pages": pages, "live": live}


async def main(parts: Sequence[str]) -> None:
    """Run parts, each on a gateway of its own."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "store").mkdir()
        with running_seaweed(folder / "store") as location:
            for part in parts or PARTS:
                own = folder / part
                own.mkdir()
                bucket = replace(location, bucket=f"bench-{part}")
                S3Store(bucket).create_bucket()
                await one(part, own, bucket)


async def one(part: str, folder: Path, location: S3Location) -> None:
    """Run one part."""
    # No trainer is started: what is measured is the gateway alone.
    quiet = {"heartbeat_s": 3600.0, "trainer_command": ("/bin/true",), "rate_per_s": 1e6}
    async with spawned(folder, location, rate_burst=1e6, **quiet) as (bench, process):
        await PARTS[part](bench, process)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1:]))
