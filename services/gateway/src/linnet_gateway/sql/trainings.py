"""What trainers change, in SQL."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from linnet_runtime.errors import NotFound
from sqlalchemy import Connection, Select, and_, bindparam, insert, literal_column, or_, select

from linnet_gateway.ports import HandOut, Now
from linnet_gateway.records import EventKind, RunRecord
from linnet_gateway.reported import Report, Stored
from linnet_gateway.sql import schema
from linnet_gateway.sql.codec import SELECT_RUNS, load_launch, load_run, to_us
from linnet_gateway.sql.database import Database
from linnet_gateway.sql.prepared import Prepared
from linnet_gateway.sql.runs import ADD_EVENT, update_of, write_change
from linnet_gateway.states import WITH_TRAINER, RunState

_WITH_TRAINER = [int(s) for s in WITH_TRAINER]
_BRIEF_REPORTS, _BRIEF_BYTES = 32, 256 * 1024
"""What takes the event loop a few milliseconds to store."""


class SqlTrainings:
    """What trainers change."""

    def __init__(self, database: Database, now: Now) -> None:
        self._database = database
        self._now = now

    async def hand_out(self, launch_uid: str, shard: int, decide: HandOut) -> RunRecord | None:
        """Let `decide` choose the next run of a shard."""

        def work(connection: Connection) -> RunRecord | None:
            found = _LAUNCH.first(connection, {"of_launch": launch_uid})
            if found is None:
                raise NotFound("launch", launch_uid)
            launch = load_launch(dict(zip(_LAUNCH_COLUMNS, found, strict=True)))
            while True:
                held = _of_shard(connection, launch_uid, shard, held=True)
                waiting = _of_shard(connection, launch_uid, shard, held=False)
                known = {run.uid: run for run in (held, waiting) if run is not None}
                changed, chosen = decide(launch, held, waiting)
                stored = {
                    run.uid: write_change(connection, known[run.uid], run, self._now())
                    for run in changed
                }
                if chosen is not None:
                    return stored[chosen.uid]
                if not changed:
                    return None

        return await self._database.write(work, brief=True)

    async def store_reports(self, reports: Sequence[Report], now: datetime) -> Sequence[Stored]:
        """Store reports of different runs together and say what became of each."""
        stored_bytes = sum(len(report.entries) for report in reports)
        brief = len(reports) <= _BRIEF_REPORTS and stored_bytes <= _BRIEF_BYTES
        return await self._database.write(lambda c: _store(c, reports, to_us(now)), brief=brief)

    async def epochs(
        self, run_uid: str, after: tuple[int, int]
    ) -> Sequence[tuple[int, int, bytes]]:
        """Read (attempt, sequence, serialized Epoch) after an attempt and sequence, in order."""
        columns = schema.epochs.c
        query = (
            select(columns.attempt, columns.sequence, columns.payload)
            .where(
                columns.run_uid == run_uid,
                or_(
                    columns.attempt > after[0],
                    and_(columns.attempt == after[0], columns.sequence > after[1]),
                ),
            )
            .order_by(columns.attempt, columns.sequence)
        )

        def work(connection: Connection) -> list[tuple[int, int, bytes]]:
            return [(row[0], row[1], bytes(row[2])) for row in connection.execute(query)]

        return await self._database.read(work)


def _shard_query(*, held: bool) -> Select[Any]:
    columns = schema.runs.c
    states = [*_WITH_TRAINER] if held else [*_WITH_TRAINER, int(RunState.QUEUED)]
    return (
        SELECT_RUNS.where(
            columns.launch_uid == bindparam("of_launch"),
            columns.shard == bindparam("of_shard"),
            columns.state.in_([literal_column(str(state)) for state in states]),
            columns.attempt_open.is_(held),
        )
        .order_by(columns.batch_index, columns.create_time)
        .limit(1)
    )


_HELD, _WAITING = Prepared(_shard_query(held=True)), Prepared(_shard_query(held=False))
_LAUNCH_COLUMNS = schema.launches.c.keys()
_LAUNCH = Prepared(select(schema.launches).where(schema.launches.c.uid == bindparam("of_launch")))


def _of_shard(
    connection: Connection, launch_uid: str, shard: int, *, held: bool
) -> RunRecord | None:
    values = {"of_launch": launch_uid, "of_shard": shard}
    row = (_HELD if held else _WAITING).first(connection, values)
    return None if row is None else load_run(row)


_ADD_EPOCH = Prepared(insert(schema.epochs).inline(), schema.epochs.c.keys())
_REPORTED = select(
    *(
        schema.runs.c[name]
        for name in (
            "uid",
            "attempt",
            "attempt_open",
            "state",
            "log_sequence",
            "cancel_time",
            "batch_uid",
            "version",
            "start_time",
            "phase",
        )
    )
)


def _store(connection: Connection, reports: Sequence[Report], now_us: int) -> list[Stored]:
    query = _REPORTED.where(schema.runs.c.uid.in_({r.run_uid for r in reports}))
    known = {row["uid"]: dict(row) for row in connection.execute(query).mappings()}
    answers: list[Stored] = []
    logs: list[dict[str, Any]] = []
    epochs: list[dict[str, Any]] = []
    updates: dict[str, dict[str, Any]] = {}
    moved: list[dict[str, Any]] = []
    for report in reports:
        run = known.get(report.run_uid)
        answer = _judge(report, run)
        answers.append(answer)
        if run is None or not answer.current or answer.gap:
            continue
        if report.first and report.last > run["log_sequence"]:
            logs.append(_log_event(report, now_us))
            epochs += _epoch_rows(report, after=run["log_sequence"])
            run["log_sequence"] = report.last
        moves = run["state"] == int(RunState.STARTING) or run["phase"] != report.phase
        if moves:
            run |= {"version": run["version"] + 1, "state": int(RunState.TRAINING)}
            run |= {"start_time": run["start_time"] or now_us, "phase": report.phase}
            moved.append(_run_event(run, now_us))
        changes = _update_of(run, report, now_us, moved=moves)
        updates[run["uid"]] = updates.get(run["uid"], {}) | changes
    if logs or moved:
        ADD_EVENT.run_all(connection, logs + moved)
    if epochs:
        _ADD_EPOCH.run_all(connection, epochs)
    _write_progress(connection, updates.values())
    return answers


def _judge(report: Report, run: Mapping[str, Any] | None) -> Stored:
    if run is None or run["attempt"] != report.attempt or not run["attempt_open"]:
        return Stored(sequence=0, current=False, cancelled=True)
    stored = int(run["log_sequence"])
    cancelled = run["cancel_time"] is not None
    if report.first > stored + 1:
        return Stored(stored, current=True, cancelled=cancelled, gap=True)
    return Stored(max(stored, report.last), current=True, cancelled=cancelled)


def _log_event(report: Report, now_us: int) -> dict[str, Any]:
    return {
        "kind": int(EventKind.LOG),
        "subject": report.run_uid,
        "batch_uid": None,
        "attempt": report.attempt,
        "first": report.first,
        "last": report.last,
        "create_time": now_us,
        "payload": report.entries,
    }


def _run_event(run: Mapping[str, Any], now_us: int) -> dict[str, Any]:
    return {
        "kind": int(EventKind.RUN),
        "subject": run["uid"],
        "batch_uid": run["batch_uid"],
        "attempt": 0,
        "first": 0,
        "last": 0,
        "create_time": now_us,
        "payload": b"",
    }


def _epoch_rows(report: Report, after: int) -> list[dict[str, Any]]:
    return [
        {
            "run_uid": report.run_uid,
            "attempt": report.attempt,
            "sequence": sequence,
            "payload": payload,
        }
        for sequence, payload in report.epochs.items()
        if sequence > after
    ]


def _update_of(
    run: Mapping[str, Any], report: Report, now_us: int, *, moved: bool
) -> dict[str, Any]:
    changes = {
        "log_sequence": run["log_sequence"],
        "last_report_time": now_us,
        "memory_bytes": report.memory_bytes,
        "time_used": report.time_used_us,
    }
    if report.progress:
        changes["progress"] = report.progress
    if moved:
        # Only then: what sets an indexed column writes its indexes, whether it changes or not.
        changes |= {name: run[name] for name in ("state", "version", "start_time", "phase")}
    return changes | {"of_uid": run["uid"]}


def _write_progress(connection: Connection, updates: Iterable[dict[str, Any]]) -> None:
    groups: dict[tuple[str, ...], list[dict[str, Any]]] = {}
    for row in updates:
        groups.setdefault(tuple(name for name in row if name != "of_uid"), []).append(row)
    for names, rows in groups.items():
        update_of(names).run_all(connection, rows)
