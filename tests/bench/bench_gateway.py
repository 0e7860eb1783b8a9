"""Speed of the gateway, one JSON line a figure; `python tests/bench/bench_gateway.py [part ...]`.

Parts: start, accept, filling, pages, live. The gateway is a process of its own on SQLite, the
object store a real SeaweedFS. Readers, trainers and watchers are a third process, so lean (a tenth
of a core at a thousand of each) that on two cores the gateway has one to itself.
"""

import asyncio
import itertools
import json
import os
import statistics
import sys
import tempfile
import time
import urllib.request
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))

from linnet.v1 import run_pb2
from linnet.v1 import training_service_pb2 as pb
from linnet_gateway import attempts
from linnet_gateway.records import BatchRecord, LaunchRecord, LaunchState, RunRecord
from linnet_gateway.sql import schema
from linnet_gateway.sql.codec import run_row
from linnet_gateway.sql.store import Records
from linnet_gateway.states import BatchState, RunState
from linnet_gateway.trainers.tokens import RunClaim, Tokens
from linnet_runtime.s3 import S3Location, S3Store

from tests.conftest import running_seaweed
from tests.fakes.gateway import PARENT, Bench, a_spec
from tests.fakes.gateway_process import GatewayProcess, spawned

SPECS = 10_000
STORED_RUNS = 100_000
LIVE_RUNS = 1_000
LIVE_S = 20.0
STORED_BATCHES = 10
FILTERS = {
    "state": 'state = "FAILED"',
    "batch": 'batch = "stored-3"',
    "label": 'labels.line = "7"',
    "label_of_none": 'labels.line = "none"',
}
CLIENTS = Path(__file__).with_name("load") / "gateway_clients.py"


def tell(name: str, value: float, unit: str, goal: float) -> None:
    """Print one figure; smaller is better."""
    line = {"name": f"gateway.{name}", "value": round(value, 3), "unit": unit, "goal": goal}
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


def told(name: str, value: float, unit: str, at_least: float) -> None:
    """Print one figure; larger is better."""
    line = {"name": f"gateway.{name}", "value": round(value, 3), "unit": unit, "goal": at_least}
    print(json.dumps(line | {"ok": value >= at_least}), flush=True)


class Load:
    """Clients in a process of their own."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    async def line(self) -> dict[str, float]:
        """Read the next thing that they tell."""
        assert self._process.stdout is not None
        read: dict[str, float] = json.loads(await self._process.stdout.readline())
        return read


@asynccontextmanager
async def clients_at_work(order: dict[str, Any]) -> AsyncIterator[Load]:
    """Start clients and give them an order."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        str(CLIENTS),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdin is not None
    process.stdin.write(json.dumps(order).encode())
    process.stdin.close()
    try:
        yield Load(process)
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def clients(order: dict[str, Any]) -> dict[str, float]:
    """Let clients do what is ordered and give what they saw."""
    async with clients_at_work(order) as load:
        return await load.line()


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


def batch_messages(batch_id: str) -> list[pb.CreateBatchRequest]:
    """Give a batch of 10,000 different specs."""
    messages = [pb.CreateBatchRequest(header=pb.BatchHeader(parent=PARENT, batch_id=batch_id))]
    for first in range(0, SPECS, 500):
        chunk = pb.CreateBatchRequest()
        for index in range(first, first + 500):
            run = chunk.runs.add(spec=a_spec(3), labels={"line": f"{index}"})
            run.spec.fit.seed = index + 1
        messages.append(chunk)
    return messages


async def filling(bench: Bench, process: GatewayProcess) -> None:
    """Reads of a run while batches are filled all the time."""
    await bench.push()
    run = await bench.submit("read-0")

    async def fill_on() -> None:
        for number in itertools.count():
            async for _ in bench.stub.CreateBatch(iter(batch_messages(f"filling-{number}"))):
                pass

    task = asyncio.create_task(fill_on())
    order = {"kind": "reads", "reads": 1000, "rate": 100.0, "stored": 1}
    names = {"address": process.address, "runs": run.name.replace("read-0", "read-{}")}
    read = await clients(order | names)
    assert not task.done(), task.exception()
    task.cancel()
    tell("get_run_p99_while_filled", read["get_p99_ms"], "ms", 50.0)
    tell("get_run_p50_while_filled", read["get_p50_ms"], "ms", 50.0)


async def accept(bench: Bench, process: GatewayProcess) -> None:
    """10,000 different specs over one stream, each chunk durable before it is acknowledged."""
    await bench.push()
    messages = batch_messages("accept")
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
        batch_uid=f"sb{index % STORED_BATCHES}",
        batch_id=f"stored-{index % STORED_BATCHES}",
        batch_index=index,
        state=RunState.FAILED if index % 1000 == 0 else RunState.SUCCEEDED,
        end_time=created + timedelta(seconds=30),
        summary=run_pb2.RunSummary(parameter_count=100).SerializeToString(),
    )


async def fill(url: str) -> None:
    """Put 100,000 terminal runs into the records."""
    records = Records(url, lambda: datetime.now(UTC))
    now = datetime.now(UTC)
    for number in range(STORED_BATCHES):
        await records.batches.create(
            BatchRecord(f"sb{number}", "demo", f"stored-{number}", now, BatchState.DONE)
        )
    for first in range(0, STORED_RUNS, 5000):
        rows = [run_row(stored_run(i, now)) for i in range(first, first + 5000)]
        await records.database.write(partial(_insert, rows=rows))
    records.close()


def _insert(connection: Any, *, rows: list[dict[str, Any]]) -> None:
    connection.execute(schema.runs.insert(), rows)


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
    address = {"address": process.address, "parent": PARENT}
    listed = await clients({"kind": "lists", "pages": 100} | address)
    tell("list_page_100_p99", listed["list_p99_ms"], "ms", 20.0)
    tell("list_page_100_p50", listed["list_p50_ms"], "ms", 20.0)
    for name, text in FILTERS.items():
        listed = await clients({"kind": "lists", "pages": 100, "filter": text} | address)
        tell(f"list_page_100_by_{name}_p99", listed["list_p99_ms"], "ms", 20.0)
    runs = {"runs": PARENT + "/runs/stored-{}", "stored": STORED_RUNS}
    scraping = asyncio.create_task(scrape(process))
    order = {"kind": "reads", "reads": 1000, "rate": 200.0}
    read = await clients(order | runs | address)
    scraping.cancel()
    tell("get_run_p99_at_200_per_s", read["get_p99_ms"], "ms", 5.0)
    tell("get_run_p50_at_200_per_s", read["get_p50_ms"], "ms", 5.0)


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
    now = datetime.now(UTC)
    order = {
        "kind": "live",
        "address": process.address,
        "runner": process.runner,
        "runs": PARENT + "/runs/live-{}",
        "tokens": [tokens.for_run(claim, now, timedelta(hours=1)) for claim in claims],
        "seconds": LIVE_S,
    }
    async with clients_at_work(order) as load:
        await load.line()
        used, begun = cpu_s(process.pid), time.perf_counter()
        seen = await load.line()
        elapsed = time.perf_counter() - begun
        cores = (cpu_s(process.pid) - used) / elapsed
        memory = memory_mb(process.pid)
    tell("live_1000_cores", cores, "cores", 1.0)
    tell("live_1000_memory", memory, "MB", 300)
    tell("live_1000_event_delay_p99", seen["delay_p99_ms"], "ms", 500)
    tell("live_1000_event_delay_p50", seen["delay_p50_ms"], "ms", 500)
    told("live_1000_events", seen["events_per_s"], "1/s", at_least=0.98 * LIVE_RUNS)
    told("live_1000_load_cores", seen["own_cores"], "cores", at_least=0.0)


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
        run = replace(run, batch_uid=None, batch_id="", batch_index=0)
        run = replace(run, launch_uid=launch.uid, shard=index, create_time=now)
        rows.append(run_row(attempts.begin_attempt(run, now + timedelta(hours=1))))
        claims.append(RunClaim(f"v{index}", 1, launch.uid))
    await records.database.write(partial(_insert, rows=rows))
    key = await records.secrets.key("tokens")
    records.close()
    return claims, key


PARTS = {"start": start, "accept": accept, "filling": filling, "pages": pages, "live": live}


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
