"""Rows ⇄ records."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, fields
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from types import MappingProxyType
from typing import Any

from sqlalchemy import RowMapping, case, func, literal_column, select

from linnet_gateway.records import (
    NEW_STAGES,
    RUN_FIELDS,
    BatchRecord,
    DatasetFacts,
    DatasetRecord,
    FileRecord,
    LaunchRecord,
    LaunchState,
    RunRecord,
    StageRecord,
    run_values,
)
from linnet_gateway.sql import schema
from linnet_gateway.states import (
    BatchState,
    DatasetState,
    Failure,
    FailureReason,
    RunState,
    StageKind,
    StageState,
)

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


def to_us(time: datetime) -> int:
    """Give microseconds since 1970."""
    return (time - _EPOCH) // _MICROSECOND


def from_us(microseconds: int) -> datetime:
    """Give the time that is so many microseconds after 1970."""
    return _EPOCH + timedelta(microseconds=microseconds)


def _maybe_time(value: int | None) -> datetime | None:
    return None if value is None else from_us(value)


def _maybe_span(value: int | None) -> timedelta | None:
    return None if value is None else timedelta(microseconds=value)


def _scalar(value: Any) -> Any:
    """Give a value as a column holds it."""
    if isinstance(value, datetime):
        return to_us(value)
    if isinstance(value, timedelta):
        return value // _MICROSECOND
    if isinstance(value, RunState | BatchState | DatasetState | LaunchState):
        return int(value)
    return value


def dump_failure(failure: Failure | None) -> str | None:
    """Give a failure as JSON."""
    return None if failure is None else json.dumps(asdict(failure))


def load_failure(document: str | None) -> Failure | None:
    """Read a failure from JSON."""
    if document is None:
        return None
    values = json.loads(document)
    return Failure(
        reason=FailureReason(values["reason"]),
        message=values["message"],
        exit_code=values["exit_code"],
        out_of_memory=values["out_of_memory"],
        log_tail=tuple(values["log_tail"]),
    )


def dump_files(files: tuple[FileRecord, ...]) -> str:
    """Give files as JSON."""
    if not files:
        return "[]"
    return json.dumps([[f.name, f.key, f.size_bytes, f.sha256] for f in files])


def load_files(document: str) -> tuple[FileRecord, ...]:
    """Read files from JSON."""
    if document == "[]":
        return ()
    return tuple(FileRecord(*values) for values in json.loads(document))


def dump_stages(stages: tuple[StageRecord, ...]) -> str:
    """Give stages as JSON."""
    return _NEW_STAGES if stages is NEW_STAGES else _dump_stages(stages)


def _dump_stages(stages: tuple[StageRecord, ...]) -> str:
    return json.dumps(
        [
            [
                int(s.kind),
                int(s.state),
                _scalar(s.start_time),
                _scalar(s.end_time),
                None if s.failure is None else asdict(s.failure),
            ]
            for s in stages
        ]
    )


_NEW_STAGES = _dump_stages(NEW_STAGES)


def load_stages(document: str) -> tuple[StageRecord, ...]:
    """Read stages from JSON."""
    if document == _NEW_STAGES:
        return NEW_STAGES
    return tuple(
        StageRecord(
            StageKind(kind),
            StageState(state),
            _maybe_time(start),
            _maybe_time(end),
            load_failure(None if failure is None else json.dumps(failure)),
        )
        for kind, state, start, end, failure in json.loads(document)
    )


_RUN_DOCUMENTS: dict[str, Callable[[Any], Any]] = {
    "failure": dump_failure,
    "stages": dump_stages,
    "artifacts": dump_files,
    "checkpoint": dump_files,
    "labels": lambda labels: json.dumps(dict(labels), sort_keys=True),
    "warnings": lambda warnings: json.dumps(list(warnings)),
}
_SCALED = frozenset(
    f.name
    for f in fields(RunRecord)
    if f.name in {"state", "time_used", "deadline"} or f.name.endswith("_time")
)
"""Fields that a column holds in another form."""
_SHARES = schema.runs.c.script_digest != literal_column("''")
_SCRIPT = (
    select(schema.batch_scripts.c.script)
    .where(
        schema.batch_scripts.c.batch_uid == schema.runs.c.batch_uid,
        schema.batch_scripts.c.digest == schema.runs.c.script_digest,
    )
    .correlate(schema.runs)
    .scalar_subquery()
)
SELECT_RUNS = select(
    *(schema.runs.c[name] for name in RUN_FIELDS), case((_SHARES, _SCRIPT)).label("script")
)
"""Whole runs, as `load_run` reads them."""
SPEC_BYTES = func.length(schema.runs.c.spec) + func.coalesce(
    case((_SHARES, func.length(_SCRIPT))), literal_column("0")
)
"""What a run's spec takes once it is read."""


def run_columns(values: Mapping[str, Any]) -> dict[str, Any]:
    """Give fields of a run as columns hold them."""
    columns = dict(values)
    for name, value in values.items():
        if name in _RUN_DOCUMENTS:
            columns[name] = _RUN_DOCUMENTS[name](value)
        elif name in _SCALED:
            columns[name] = _scalar(value)
    if "failure" in values:
        failure = values["failure"]
        columns["failure_reason"] = 0 if failure is None else int(failure.reason)
    return columns


def run_row(run: RunRecord) -> dict[str, Any]:
    """Give the row of a new run."""
    return run_columns(dict(zip(RUN_FIELDS, run_values(run), strict=True))) | {"verdict": 0}


def _load_labels(document: str) -> dict[str, str]:
    labels: dict[str, str] = {} if document == "{}" else json.loads(document)
    return labels


def _load_warnings(document: str) -> tuple[str, ...]:
    return () if document == "[]" else tuple(json.loads(document))


_RUN_LOADERS: dict[str, Callable[[Any], Any]] = {
    "create_time": from_us,
    "update_time": from_us,
    "start_time": _maybe_time,
    "end_time": _maybe_time,
    "cancel_time": _maybe_time,
    "last_report_time": _maybe_time,
    "log_delete_time": _maybe_time,
    "artifacts_delete_time": _maybe_time,
    "state": RunState,
    # SQLite has no truth values of its own.
    "attempt_open": bool,
    "expert": bool,
    "failure": load_failure,
    "stages": load_stages,
    "artifacts": load_files,
    "checkpoint": load_files,
    "labels": _load_labels,
    "warnings": _load_warnings,
    "time_used": _maybe_span,
    "deadline": _maybe_span,
}
_SPEC = RUN_FIELDS.index("spec")
_LOADERS_BY_PLACE = tuple((RUN_FIELDS.index(name), load) for name, load in _RUN_LOADERS.items())


def load_run(row: Sequence[Any]) -> RunRecord:
    """Read a run from a row of `SELECT_RUNS`; by place, since names cost four times as much."""
    *values, script = row
    for place, load in _LOADERS_BY_PLACE:
        values[place] = load(values[place])
    if script is not None:
        values[_SPEC] = values[_SPEC] + script
    return RunRecord(*values)


_DATASET_COLUMNS = ("uid", "project", "id", "create_time", "state", "version")


def dataset_row(dataset: DatasetRecord) -> dict[str, Any]:
    """Give the row of a dataset."""
    values = {f.name: getattr(dataset, f.name) for f in fields(DatasetRecord)}
    row = {name: _scalar(values.pop(name)) for name in _DATASET_COLUMNS}
    values["files"] = dump_files(dataset.files)
    values["facts"] = facts = asdict(dataset.facts)
    row["validation_count"] = facts.pop("validation_count")
    return row | {"document": json.dumps(values)}


def load_dataset(row: RowMapping | Mapping[str, Any]) -> DatasetRecord:
    """Read a dataset from its row."""
    return DatasetRecord(
        uid=row["uid"],
        project=row["project"],
        id=row["id"],
        create_time=from_us(row["create_time"]),
        state=DatasetState(row["state"]),
        version=row["version"],
        **_dataset_document(row["document"], row["validation_count"]),
    )


@lru_cache(maxsize=64)
def _dataset_document(document: str, validation_count: int) -> Mapping[str, Any]:
    # The same few are read for each of a batch's runs, and each of their stages.
    values = json.loads(document)
    facts = values["facts"]
    for name in ("input_shape", "class_counts"):
        facts[name] = tuple(facts[name])
    values["facts"] = DatasetFacts(**facts, validation_count=validation_count)
    values["files"] = load_files(values["files"])
    for name in ("classes", "feature_names"):
        values[name] = tuple(values[name])
    return MappingProxyType(values)


def plain_row(record: BatchRecord | LaunchRecord) -> dict[str, Any]:
    """Give the row of a record whose fields are columns."""
    return {f.name: _scalar(getattr(record, f.name)) for f in fields(record)}


def load_batch(row: RowMapping) -> BatchRecord:
    """Read a batch from its row."""
    values = {f.name: row[f.name] for f in fields(BatchRecord)}
    values["create_time"] = from_us(values["create_time"])
    values["end_time"] = _maybe_time(values["end_time"])
    values["cancel_time"] = _maybe_time(values["cancel_time"])
    values["state"] = BatchState(values["state"])
    return BatchRecord(**values)


def load_launch(row: Mapping[Any, Any]) -> LaunchRecord:
    """Read a launch from its row."""
    values = {f.name: row[f.name] for f in fields(LaunchRecord)}
    values["create_time"] = from_us(values["create_time"])
    values["launch_time"] = _maybe_time(values["launch_time"])
    values["end_time"] = _maybe_time(values["end_time"])
    values["deadline"] = _maybe_span(values["deadline"])
    values["state"] = LaunchState(values["state"])
    values["expert"] = bool(values["expert"])
    return LaunchRecord(**values)
