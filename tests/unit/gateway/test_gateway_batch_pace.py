"""When a batch will be done, as its runs end."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from linnet_gateway.batches.pace import BatchPace
from linnet_gateway.records import BatchRecord
from linnet_gateway.states import BatchState

BEGUN = datetime(2026, 11, 1, tzinfo=UTC)
BATCH = BatchRecord(uid="u1", project="demo", id="b", create_time=BEGUN, state=BatchState.RUNNING)


def at(seconds: float) -> datetime:
    return BEGUN + timedelta(seconds=seconds)


def test_a_steady_batch_is_told_its_end() -> None:
    """Ten runs a minute leave 90 runs nine minutes."""
    pace = BatchPace()
    for done in range(10):
        pace.eta_seconds(BATCH, done, 100 - done, at(6 * done))
    assert pace.eta_seconds(BATCH, 10, 90, at(60)) == pytest.approx(540)


def test_the_time_in_the_queue_does_not_count() -> None:
    """A batch that waited an hour for its first run is not expected to take hours for each."""
    pace = BatchPace()
    for seconds in range(0, 3600, 10):
        assert pace.eta_seconds(BATCH, 0, 100, at(seconds)) is None
    for done in range(11):
        found = pace.eta_seconds(BATCH, done, 100 - done, at(3600 + 6 * done))
    assert found == pytest.approx(540)


def test_a_slower_pace_is_heard_of() -> None:
    """When runs take ten times as long the estimate follows within the window."""
    pace = BatchPace()
    for done in range(100):
        pace.eta_seconds(BATCH, done, 1000 - done, at(6 * done))
    for done in range(100, 120):
        found = pace.eta_seconds(BATCH, done, 1000 - done, at(600 + 60 * (done - 100)))
    assert found == pytest.approx(881 * 60, rel=0.1)


def test_a_suspended_batch_has_no_end_and_begins_anew() -> None:
    """While it is suspended there is no estimate; afterwards the pause is forgotten."""
    pace = BatchPace()
    for done in range(10):
        pace.eta_seconds(BATCH, done, 100 - done, at(6 * done))
    paused = replace(BATCH, state=BatchState.SUSPENDED)
    assert pace.eta_seconds(paused, 10, 90, at(60)) is None
    for done in range(10, 21):
        found = pace.eta_seconds(BATCH, done, 100 - done, at(36_000 + 6 * done))
    assert found == pytest.approx(80 * 6)


def test_a_batch_that_is_over_has_no_estimate() -> None:
    """Nothing is left to wait for."""
    assert BatchPace().eta_seconds(BATCH, 5, 0, at(60)) is None
