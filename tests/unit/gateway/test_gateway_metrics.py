"""The number of series stays bounded, whatever runs there are."""

import re
from dataclasses import replace
from datetime import UTC, datetime

from linnet.v1 import run_pb2
from linnet_gateway.kubernetes.patient_calls import ApiMetrics
from linnet_gateway.kubernetes.watch import WatchMetrics
from linnet_gateway.metrics import MAX_LIVE_BATCHES, MAX_LIVE_RUNS, DatabaseMetrics, RunMetrics
from linnet_gateway.records import RunRecord
from linnet_gateway.states import RunState
from linnet_runtime.rpc.interceptors import RpcMetrics
from linnet_runtime.store_metrics import StoreMetrics
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from tests.support import promtool

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


def test_batches_have_a_series_a_state_while_they_live() -> None:
    """A hundred batches of 10,000 runs in every state, and a thousand runs, stay below 20,000."""
    registry = CollectorRegistry()
    metrics = RunMetrics(registry)
    counts = {(f"p{b}", f"b{b}", s): 1428 for b in range(MAX_LIVE_BATCHES) for s in RunState if s}
    metrics.batches_counted(counts)
    for index in range(MAX_LIVE_RUNS):
        metrics.epoch(replace(RUN, uid=f"u{index}", id=f"r{index}"), EPOCH)
    lines = page(registry)
    assert sum(line.startswith("linnet_batch_runs{") for line in lines) == 7 * MAX_LIVE_BATCHES
    assert 'linnet_batch_runs{batch="b7",project="p7",state="failed"} 1428.0' in lines
    assert len(lines) < 20_000
    metrics.batches_counted({})
    assert not any("batch=" in line for line in page(registry))


def everything() -> CollectorRegistry:
    """Give a registry with a sample of every metric that the gateway has."""
    registry = CollectorRegistry()
    metrics = RunMetrics(registry)
    metrics.counted({("demo", RunState.QUEUED): 1}, 3.0)
    metrics.batches_counted({("demo", "b", RunState.QUEUED): 1})
    metrics.epoch(RUN, EPOCH)
    metrics.ended(replace(RUN, state=RunState.SUCCEEDED, end_time=NOW))
    database = DatabaseMetrics(registry)
    database.transaction("read", 0.1)
    database.error("write", "unavailable")
    rpc = RpcMetrics(registry)
    rpc.requests.labels("TrainingService/GetRun", "OK").inc()
    rpc.seconds.labels("TrainingService/GetRun").observe(0.1)
    rpc.streams.labels("TrainingService/WatchRun").set(1)
    StoreMetrics(registry).called("GET", 200, 0.1)
    api = ApiMetrics(registry)
    api.duration_seconds.labels("POST", "jobs").observe(0.1)
    api.requests_total.labels("POST", "jobs", "201").inc()
    watch = WatchMetrics(registry)
    watch.restarts_total.labels("jobs", "expired").inc()
    watch.last_event_timestamp_seconds.labels("jobs").set(1)
    return registry


BOUNDED = {"project", "state", "outcome", "reason", "stage", "split", "op", "kind", "method"}
BOUNDED |= {"code", "verb", "resource", "cause", "le"}
LIVE = {
    "linnet_run_loss": {"run"},
    "linnet_run_accuracy": {"run"},
    "linnet_batch_runs": {"batch"},
}
"""What names things that come and go, a thousand runs and a hundred batches at most."""


def test_names_labels_and_help_follow_the_rules() -> None:
    """What promtool checks: base units, `_total`, help; no label is unbounded.

    Where promtool is, it is asked too; the end-to-end suite asks it about the pages that services
    serve.
    """
    if promtool.installed():
        assert promtool.complaints(generate_latest(everything())) == ""
    families = list(text_string_to_metric_families(generate_latest(everything()).decode()))
    assert len(families) > 10
    for family in families:
        assert re.fullmatch(r"linnet_[a-z0-9_]+", family.name), family.name
        assert family.documentation.endswith("."), family.name
        assert not re.search(r"_(ms|millis|minutes|hours|kb|mb|percent|count)$", family.name)
        if family.type == "histogram":
            assert family.name.endswith(("_seconds", "_bytes")), family.name
            buckets = {s.labels["le"] for s in family.samples if s.name.endswith("_bucket")}
            assert len(buckets) <= 12
        for sample in family.samples:
            if family.type == "counter":
                assert sample.name.endswith(("_total", "_created")), sample.name
            live = LIVE.get(family.name, set())
            assert sample.labels.keys() <= BOUNDED | live, sample
