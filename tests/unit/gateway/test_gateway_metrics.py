"""The number of series stays bounded, whatever runs there are."""

import shutil
import subprocess
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from linnet.v1 import run_pb2
from linnet_gateway.metrics import MAX_LIVE_RUNS, DatabaseMetrics, RunMetrics
from linnet_gateway.records import RunRecord
from linnet_gateway.states import RunState
from linnet_runtime.rpc.interceptors import RpcMetrics
from prometheus_client import CollectorRegistry, generate_latest

NOW = datetime(2026, 11, 1, tzinfo=UTC)
RUN = RunRecord(
    uid="u",
    project="demo",
    id="r",
    create_time=NOW,
    update_time=NOW,
    spec=b"",
    spec_digest="",
    dataset="watch",
    target="t",
    state=RunState.TRAINING,
)
EPOCH = run_pb2.Epoch(number=1, loss=0.5, accuracy=0.5, val_loss=0.5, val_accuracy=0.5)


def page(registry: CollectorRegistry) -> list[str]:
    text = generate_latest(registry).decode()
    return [line for line in text.splitlines() if line and not line.startswith("#")]


def test_ten_thousand_live_runs_stay_below_twenty_thousand_series() -> None:
    """Four series for each of the first thousand runs; the others are counted as left out."""
    registry = CollectorRegistry()
    metrics = RunMetrics(registry)
    for index in range(10_000):
        metrics.epoch(replace(RUN, uid=f"u{index}", id=f"r{index}"), EPOCH)
    lines = page(registry)
    assert sum("run=" in line for line in lines) == 4 * MAX_LIVE_RUNS
    assert len(lines) < 20_000
    assert "linnet_labelled_runs_dropped_total 9000.0" in lines
    for index in range(10_000):
        metrics.left(f"u{index}")
    assert not any("run=" in line for line in page(registry))


def test_projects_beyond_a_hundred_count_as_other() -> None:
    """No project makes the page grow without bound."""
    registry = CollectorRegistry()
    metrics = RunMetrics(registry)
    counts = {(f"p{index}", RunState.QUEUED): 1 for index in range(150)}
    metrics.counted(counts, 0.0)
    lines = [line for line in page(registry) if line.startswith("linnet_runs{")]
    assert len(lines) == 101
    assert 'linnet_runs{project="other",state="queued"} 50.0' in lines


@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is not installed")
def test_promtool_finds_nothing_wrong() -> None:
    """Names, types and help texts are as Prometheus wants them."""
    registry = CollectorRegistry()
    metrics = RunMetrics(registry)
    metrics.counted({("demo", RunState.QUEUED): 1}, 3.0)
    metrics.epoch(RUN, EPOCH)
    metrics.ended(replace(RUN, state=RunState.SUCCEEDED, end_time=NOW))
    DatabaseMetrics(registry).transaction("read", 0.1)
    RpcMetrics(registry).requests.labels("TrainingService/GetRun", "OK").inc()
    checked = subprocess.run(
        ["promtool", "check", "metrics"],
        input=generate_latest(registry),
        capture_output=True,
        check=False,
    )
    assert checked.returncode == 0, checked.stderr.decode()
