"""What is counted of runs: each epoch once, and every end, whatever a read met."""

from pathlib import Path

import pytest
from linnet.v1 import run_pb2, runner_service_pb2
from linnet_gateway import transitions
from linnet_gateway.metrics import RunMetrics
from linnet_gateway.records import Event, EventKind
from linnet_gateway.run_meter import RunMeter
from linnet_gateway.sql import migrate
from linnet_gateway.sql.store import Records
from linnet_gateway.states import Failure, FailureReason
from linnet_gateway.tail import EventTail
from linnet_runtime.errors import Unavailable
from prometheus_client import CollectorRegistry

from tests.fakes.clock import ManualClock
from tests.fakes.records import a_run


def epochs(count: int) -> Event:
    """Make the event of a report with some epochs."""
    entries = [
        run_pb2.LogEntry(sequence=n, epoch=run_pb2.Epoch(number=n, loss=1.0))
        for n in range(1, count + 1)
    ]
    payload = runner_service_pb2.LogEntries(entries=entries).SerializeToString()
    return Event(1, EventKind.LOG, "u1", None, 1, 1, count, payload)


async def test_figures_hold_through_an_outage(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Five epochs in one report are five, for the replica that counts; a late end is still seen."""
    clock, registry = ManualClock(), CollectorRegistry()
    url = f"sqlite:///{tmp_path / 'records.db'}"
    migrate.upgrade(url)
    records = Records(url, clock.now)
    tail = EventTail(records.events, idle_s=lambda: 1.0)
    meter = RunMeter(records.runs, records.work, tail, RunMetrics(registry), clock)
    await records.runs.create(a_run("u1"))
    meter._hear(epochs(5))
    await meter._look(lambda: True)
    meter._hear(epochs(2))
    await meter._look(lambda: False)
    assert registry.get_sample_value("linnet_run_epochs_total") == 5
    assert registry.get_sample_value("linnet_labelled_runs") == 1
    crash = Failure(FailureReason.TRAINER_CRASHED, "gone")
    clock.move(1.0)
    await records.runs.change("u1", lambda run: transitions.fail(run, crash, clock.now()))
    meter._hear(Event(2, EventKind.RUN, "u1", None, 0, 0, 0, b""))
    with monkeypatch.context() as outage:

        async def away(_uids: object) -> None:
            raise Unavailable("the database can't be reached")

        outage.setattr(records.runs, "get_uids", away)
        with pytest.raises(Unavailable):
            await meter._look(lambda: True)
    await meter._look(lambda: True)
    assert registry.get_sample_value("linnet_labelled_runs") == 0
    ended = {"project": "demo", "outcome": "failed", "reason": "trainer_crashed"}
    assert registry.get_sample_value("linnet_runs_finished_total", ended) == 1
    records.close()
