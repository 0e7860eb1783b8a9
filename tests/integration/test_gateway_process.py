"""The gateway as a process: small, quick to start, and measured from outside."""

import asyncio
import json
import os
import subprocess
import sys
import urllib.request
from pathlib import Path

from linnet.v1 import batch_pb2, run_pb2
from linnet.v1 import training_service_pb2 as pb
from linnet_runtime.s3 import S3Location
from prometheus_client.parser import text_string_to_metric_families

from tests.fakes.batches import fill, header, runs, until_batch
from tests.fakes.gateway import Bench, running, settings_for, until
from tests.fakes.gateway_process import spawned

Page = dict[str, dict[tuple[tuple[str, str], ...], float]]
"""Values by name and labels."""

MAX_MEMORY_MB = 170
MAX_MODULES = 1300
HEAVY = ("tensorflow", "keras", "kubernetes", "pyarrow", "pandas", "scipy")

REPORT = """
import asyncio, json, sys
from linnet_gateway.assembly import Gateway
from linnet_gateway.settings import GatewaySettings
from linnet_runtime.clock import SystemClock

async def main():
    async with Gateway(GatewaySettings.read(), SystemClock()):
        roots = sorted({name.partition(".")[0] for name in sys.modules})
        print(json.dumps({"roots": roots, "modules": len(sys.modules)}))

asyncio.run(main())
"""


async def test_a_local_gateway_loads_nothing_heavy(tmp_path: Path, s3_location: S3Location) -> None:
    """Neither TensorFlow nor the Kubernetes client nor pyarrow is loaded in local mode."""
    settings = settings_for(tmp_path, s3_location, "127.0.0.1:1")
    environment = dict(os.environ)
    for name in ("database_url", "store_endpoint", "store_access_key", "store_bucket"):
        environment[f"LINNET_GATEWAY_{name.upper()}"] = str(getattr(settings, name))
    environment["LINNET_GATEWAY_STORE_SECRET_KEY"] = settings.store_secret_key.get_secret_value()
    environment["LINNET_GATEWAY_EVALUATOR_ADDRESS"] = "127.0.0.1:1"
    environment["LINNET_GATEWAY_PROFILER_ADDRESS"] = "127.0.0.1:1"
    environment["LINNET_GATEWAY_PROCESS_FOLDER"] = str(settings.process_folder)
    done = await asyncio.to_thread(
        lambda: subprocess.run(
            [sys.executable, "-P", "-c", REPORT], env=environment, capture_output=True, check=True
        )
    )
    report = json.loads(done.stdout.splitlines()[-1])
    assert not set(report["roots"]) & set(HEAVY)
    # Time is for the bench to tell; how much is loaded is the same on every machine.
    assert report["modules"] < MAX_MODULES


async def test_memory_stays_small_after_work(tmp_path: Path, s3_location: S3Location) -> None:
    """After a dataset was checked and a run trained and reported, it fits in 170 MB."""
    async with spawned(tmp_path, s3_location) as (bench, process):
        await bench.push(groups=True)
        run = await bench.submit()
        await bench.until_state(run.name, run_pb2.RUN_STATE_SUCCEEDED)
        status = await asyncio.to_thread(Path(f"/proc/{process.pid}/status").read_text)
        (line,) = [line for line in status.splitlines() if line.startswith("VmRSS:")]
        assert int(line.split()[1]) / 1024 < MAX_MEMORY_MB


def scraped(page: str) -> Page:
    """Read a metrics page."""
    found: Page = {}
    for family in text_string_to_metric_families(page):
        for sample in family.samples:
            labels = tuple(sorted(sample.labels.items()))
            found.setdefault(sample.name, {})[labels] = sample.value
    return found


async def scrape(bench: Bench) -> Page:
    url = f"http://{bench.endpoints['metrics']}/metrics"
    return scraped(await asyncio.to_thread(lambda: urllib.request.urlopen(url).read().decode()))


async def test_metrics_follow_a_training(tmp_path: Path, s3_location: S3Location) -> None:
    """A live run shows its state, loss and accuracy; when it ended these go and it is counted."""
    async with running(tmp_path, s3_location) as bench:
        await bench.push()
        bench.control(hold=3)
        run = await bench.submit("live", epochs=4)
        training = (("project", "demo"), ("state", "training"))
        live = (("project", "demo"), ("run", "live"), ("split", "training"))

        async def shows() -> bool:
            page = await scrape(bench)
            trains = page.get("linnet_runs", {}).get(training) == 1.0
            return trains and page.get("linnet_run_loss", {}).get(live) == 0.5

        await until(shows, 40)
        page = await scrape(bench)
        assert page["linnet_run_accuracy"][live] == 0.5
        assert page["linnet_leader"][()] == 1.0
        bench.control()
        await bench.until_state(run.name, run_pb2.RUN_STATE_SUCCEEDED)
        ended = (("outcome", "succeeded"), ("project", "demo"), ("reason", ""))

        async def gone() -> bool:
            now = await scrape(bench)
            counted = now.get("linnet_runs_finished_total", {}).get(ended) == 1.0
            return counted and live not in now.get("linnet_run_loss", {})

        await until(gone, 40)
        page = await scrape(bench)
        stages = {dict(labels)["stage"] for labels in page["linnet_run_stage_duration_seconds_sum"]}
        assert stages == {"train", "evaluate", "profile"}
        calls = page["linnet_rpc_requests_total"]
        assert calls[(("code", "OK"), ("method", "TrainingService/CreateRun"))] == 1.0


async def test_metrics_follow_a_batch(tmp_path: Path, s3_location: S3Location) -> None:
    """A live batch shows its runs by state; cancelled, each end is counted once and it goes."""
    async with running(tmp_path, s3_location) as bench:
        await bench.push()
        bench.control(hold=2)
        batch = batch_pb2.Batch(shard_size=3, parallelism=1)
        request = pb.CreateBatchRequest(header=header("six", batch=batch), runs=runs(6, 3))
        name = (await fill(bench, request))[-1].batch.name

        def shown(page: Page, state: str) -> float | None:
            labels = (("batch", "six"), ("project", "demo"), ("state", state))
            return page.get("linnet_batch_runs", {}).get(labels)

        async def trains() -> bool:
            return shown(await scrape(bench), "training") == 1.0

        await until(trains, 40)
        await bench.call("CancelBatch", pb.CancelBatchRequest(name=name))
        await until_batch(bench, name, batch_pb2.BATCH_STATE_DONE)
        ended = (("outcome", "cancelled"), ("project", "demo"), ("reason", ""))

        async def gone() -> bool:
            now = await scrape(bench)
            counted = now.get("linnet_runs_finished_total", {}).get(ended)
            return counted == 6.0 and shown(now, "cancelled") is None

        await until(gone, 40)
        calls = (await scrape(bench))["linnet_store_requests_total"]
        assert calls[(("code", "200"), ("verb", "HEAD"))] >= 1.0
