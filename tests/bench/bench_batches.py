"""Batches of runs that are not alike, and their results, one JSON line a figure.

10,000 runs with 10,000 layer lists over one stream, then all of them as one Parquet file. The
gateway is a process of its own on SQLite, the object store a real SeaweedFS.
"""

import asyncio
import io
import random
import sys
import tempfile
import time
import urllib.request
from dataclasses import replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

import pyarrow.parquet
from linnet.v1 import spec_pb2
from linnet.v1 import training_service_pb2 as pb
from linnet_runtime.s3 import S3Store

from tests.bench.bench_gateway import cpu_s, memory_mb, tell
from tests.conftest import running_seaweed
from tests.fakes.gateway import PARENT, Bench, a_spec
from tests.fakes.gateway_process import GatewayProcess, spawned

RUNS = 10_000


def messages() -> list[pb.CreateBatchRequest]:
    """Give runs of one to four dense layers, no two alike, that nobody trains."""
    drawn = random.Random(7)
    header = pb.BatchHeader(parent=PARENT, batch_id="unlike")
    found = [pb.CreateBatchRequest(header=header)]
    for _ in range(0, RUNS, 500):
        chunk = pb.CreateBatchRequest()
        for _ in range(500):
            spec = a_spec(drawn.randint(1, 100))
            spec.fit.learning_rate = drawn.uniform(1e-5, 0.1)
            for _ in range(drawn.randint(1, 4)):
                spec.architecture.layers.layers.add(
                    kind=spec_pb2.LAYER_KIND_DENSE, units=drawn.randint(2, 1500)
                )
            chunk.runs.add(spec=spec)
        found.append(chunk)
    return found


async def measure(bench: Bench, process: GatewayProcess) -> None:
    """Fill a batch, and read its results."""
    await bench.push()
    sent = messages()
    used, begun, accepted = cpu_s(process.pid), time.perf_counter(), 0
    async for answer in bench.stub.CreateBatch(iter(sent)):
        accepted = answer.accepted_count
    tell("accept_10000_layer_lists", time.perf_counter() - begun, "s", 10.0)
    tell("accept_10000_layer_lists_cpu", cpu_s(process.pid) - used, "s", 10.0)
    assert accepted == RUNS, accepted
    idle = memory_mb(process.pid)
    used, begun = cpu_s(process.pid), time.perf_counter()
    export = pb.ExportBatchRequest(name=f"{PARENT}/batches/unlike")
    request = await bench.stub.ExportBatch(export, timeout=120)
    tell("results_of_10000_runs", time.perf_counter() - begun, "s", 20.0)
    tell("results_of_10000_runs_cpu", cpu_s(process.pid) - used, "s", 10.0)
    tell("results_of_10000_runs_memory", memory_mb(process.pid) - idle, "MB", 30.0)
    data = await asyncio.to_thread(lambda: urllib.request.urlopen(request.url).read())
    assert pyarrow.parquet.read_table(io.BytesIO(data)).num_rows == RUNS


async def main() -> None:
    """Measure on a gateway of its own."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "store").mkdir()
        with running_seaweed(folder / "store") as location:
            bucket = replace(location, bucket="bench-batches")
            S3Store(bucket).create_bucket()
            async with spawned(folder, bucket) as (bench, process):
                await measure(bench, process)


if __name__ == "__main__":
    asyncio.run(main())
