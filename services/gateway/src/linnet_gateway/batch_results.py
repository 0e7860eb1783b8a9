"""The results of a batch as one table, a row a run."""

import json
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta

from google.protobuf import json_format
from linnet.v1 import run_pb2, spec_pb2

from linnet_gateway.parquet import Column, Kind, Value, table
from linnet_gateway.records import RunRecord

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_VARIANTS = {"float32": run_pb2.VARIANT_FLOAT32, "int8": run_pb2.VARIANT_INT8}
_VARIANT_FIELDS = {
    "validation_accuracy": Kind.DOUBLE,
    "validation_loss": Kind.DOUBLE,
    "test_accuracy": Kind.DOUBLE,
    "ram_bytes": Kind.INT64,
    "flash_bytes": Kind.INT64,
    "latency_us": Kind.DOUBLE,
    "fits": Kind.BOOLEAN,
}

Reader = Callable[[RunRecord, run_pb2.RunSummary], Value]


def results(runs: Sequence[RunRecord]) -> bytes:
    """Give the Parquet file of runs; units stand in the columns' names."""
    summaries = [run_pb2.RunSummary.FromString(run.summary) for run in runs]
    pairs = list(zip(runs, summaries, strict=True))
    return table(
        [
            Column(name, kind, [read(run, summary) for run, summary in pairs])
            for name, (kind, read) in _columns().items()
        ]
    )


def _columns() -> dict[str, tuple[Kind, Reader]]:
    columns: dict[str, tuple[Kind, Reader]] = {
        "run": (Kind.TEXT, lambda run, _: run.name),
        "batch_index": (Kind.INT64, lambda run, _: run.batch_index),
        "display_name": (Kind.TEXT, lambda run, _: run.display_name or None),
        "labels": (Kind.TEXT, lambda run, _: json.dumps(dict(run.labels), sort_keys=True)),
        "state": (Kind.TEXT, lambda run, _: run.state.name),
        "failure_reason": (
            Kind.TEXT,
            lambda run, _: None if run.failure is None else run.failure.reason.name,
        ),
        "failure_message": (
            Kind.TEXT,
            lambda run, _: None if run.failure is None else run.failure.message,
        ),
        "attempt": (Kind.INT64, lambda run, _: run.attempt),
        "dataset": (Kind.TEXT, lambda run, _: run.dataset),
        "target": (Kind.TEXT, lambda run, _: run.target),
        "create_time": (Kind.TIME_US, lambda run, _: _us(run.create_time)),
        "start_time": (Kind.TIME_US, lambda run, _: _us(run.start_time)),
        "end_time": (Kind.TIME_US, lambda run, _: _us(run.end_time)),
        "parameter_count": (Kind.INT64, lambda run, s: s.parameter_count if run.summary else None),
        "epochs": (Kind.INT64, lambda run, s: s.epochs if run.summary else None),
        "best_epoch": (Kind.INT64, lambda run, s: s.best_epoch if run.summary else None),
        "train_seconds": (Kind.DOUBLE, lambda run, s: s.train_seconds if run.summary else None),
        "predecessor": (Kind.TEXT, lambda run, _: run.predecessor or None),
        "accuracy_change": (Kind.DOUBLE, lambda run, _: _comparison(run)),
        "spec": (Kind.TEXT, lambda run, _: _spec(run)),
    }
    for name, variant in _VARIANTS.items():
        for field, kind in _VARIANT_FIELDS.items():
            columns[f"{name}_{field}"] = (kind, _of_variant(variant, field))
    return columns


def _us(time: datetime | None) -> int | None:
    return None if time is None else (time - _EPOCH) // timedelta(microseconds=1)


def _comparison(run: RunRecord) -> float | None:
    if not run.comparison:
        return None
    return run_pb2.Comparison.FromString(run.comparison).accuracy_change


def _spec(run: RunRecord) -> str:
    message = spec_pb2.TrainingSpec.FromString(run.spec)
    return json.dumps(json_format.MessageToDict(message, preserving_proto_field_name=True))


def _of_variant(variant: run_pb2.Variant.ValueType, field: str) -> Reader:
    def read(_run: RunRecord, summary: run_pb2.RunSummary) -> Value:
        for found in summary.variants:
            if found.variant == variant and found.HasField(field):  # type: ignore[arg-type]  # one of _VARIANT_FIELDS
                value: Value = getattr(found, field)
                return value
        return None

    return read
