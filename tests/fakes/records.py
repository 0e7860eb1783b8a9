"""Records as tests need them, at a time that tests move."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial

from linnet.v1 import run_pb2
from linnet_gateway import attempts
from linnet_gateway.attempts import RetryLimits
from linnet_gateway.records import LaunchRecord, LaunchState, RunRecord
from linnet_gateway.reported import Report
from linnet_gateway.sql.store import Records
from linnet_gateway.states import Failure, FailureReason

T0 = datetime(2026, 11, 1, 12, 0, tzinfo=UTC)
FAILURE = Failure(FailureReason.TRAINER_CRASHED, "crashed", 1, log_tail=("last words",))


class Time:
    """A clock that tests move."""

    def __init__(self) -> None:
        self.now = T0

    def __call__(self) -> datetime:
        return self.now


def a_run(uid: str = "u1", id_: str = "", **changes: object) -> RunRecord:
    """Make a queued run of project `demo`."""
    base = RunRecord(
        uid=uid,
        project="demo",
        id=id_ or uid,
        create_time=T0,
        update_time=T0,
        spec=b"spec",
        spec_digest="d1",
        dataset="watch",
        target="cortex-m4f-80mhz",
    )
    return replace(base, **changes)  # type: ignore[arg-type]  # fields of RunRecord


def a_launch(uid: str = "l1", shard_count: int = 1) -> LaunchRecord:
    """Make a planned launch of project `demo`."""
    return LaunchRecord(
        uid=uid,
        project="demo",
        create_time=T0,
        state=LaunchState.PLANNED,
        shard_count=shard_count,
        parallelism=1,
        cpu_millis=1000,
        memory_bytes=1 << 30,
        deadline=timedelta(hours=1),
        expert=False,
        spec_digest="x",
    )


async def hand_out(records: Records, launch: str = "l1", shard: int = 0) -> RunRecord | None:
    """Have a trainer of a shard ask for its next run."""
    choose = partial(attempts.choose_next, crash=None, limits=RetryLimits(), now=T0)
    return await records.trainings.hand_out(launch, shard, choose)


def first_only(
    launch: LaunchRecord, held: RunRecord | None, waiting: RunRecord | None, *, now: datetime
) -> tuple[Sequence[RunRecord], RunRecord | None]:
    """Choose the next run unless one is held."""
    if held is not None:
        return [], None
    return attempts.choose_next(launch, None, waiting, crash=None, limits=RetryLimits(), now=now)


def a_report(run: RunRecord, first: int, count: int = 1, **changes: object) -> Report:
    """Make a report of a run's open attempt."""
    base = Report(
        run_uid=run.uid,
        attempt=run.attempt,
        first=first,
        last=first + count - 1,
        entries=b"entries",
        epochs={first: run_pb2.Epoch(number=first).SerializeToString()},
        progress=run_pb2.Progress(epoch=first).SerializeToString(),
        phase=2,
        memory_bytes=5,
        time_used_us=7,
    )
    return replace(base, **changes)  # type: ignore[arg-type]  # fields of Report


async def begun(records: Records) -> RunRecord:
    """Create a run and hand it out."""
    await records.runs.create(a_run())
    await records.launches.plan([(a_launch(), [("u1", 0)])])
    run = await hand_out(records)
    assert run is not None
    return run
