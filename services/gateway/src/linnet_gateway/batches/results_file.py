"""Writes the results of a batch as Parquet: `python -m linnet_gateway.batches.results_file OUT`.

A process of its own, so that the gateway never loads pyarrow. Standard input holds serialized Run
messages of the contract, each after its length in four bytes, big-endian.
"""

import json
import os
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq
from google.protobuf import json_format
from google.protobuf.timestamp_pb2 import Timestamp
from linnet.v1 import run_pb2

ROW_GROUP = 5_000
_NICENESS = 10
_TIME = pa.timestamp("us", tz="UTC")
_VARIANTS = {"float32": run_pb2.VARIANT_FLOAT32, "int8": run_pb2.VARIANT_INT8}
_FIGURES = {
    "validation_accuracy": pa.float64(),
    "validation_loss": pa.float64(),
    "test_accuracy": pa.float64(),
    "ram_bytes": pa.int64(),
    "flash_bytes": pa.int64(),
    "latency_us": pa.float64(),
    "fits": pa.bool_(),
}

Reader = Callable[[run_pb2.Run], Any]


def columns() -> dict[str, tuple[pa.DataType, Reader]]:
    """Give the columns by name, each with its type and how it is read; units stand in the names."""
    found: dict[str, tuple[pa.DataType, Reader]] = {
        "run": (pa.string(), lambda run: run.name),
        "batch_index": (pa.int64(), lambda run: run.batch_index),
        "display_name": (pa.string(), lambda run: run.display_name or None),
        "labels": (pa.string(), lambda run: json.dumps(dict(run.labels), sort_keys=True)),
        "state": (pa.string(), lambda run: _word(run_pb2.RunState, run.state, "RUN_STATE_")),
        "failure_reason": (pa.string(), _failure_reason),
        "failure_message": (pa.string(), lambda run: run.failure.message or None),
        "attempt": (pa.int64(), lambda run: run.attempt),
        "dataset": (pa.string(), lambda run: run.spec.dataset.rsplit("/", 1)[-1]),
        "target": (pa.string(), lambda run: run.spec.target),
        "create_time": (_TIME, lambda run: _time(run, "create_time")),
        "start_time": (_TIME, lambda run: _time(run, "start_time")),
        "end_time": (_TIME, lambda run: _time(run, "end_time")),
        "parameter_count": (pa.int64(), lambda run: _summary(run, "parameter_count")),
        "epochs": (pa.int64(), lambda run: _summary(run, "epochs")),
        "best_epoch": (pa.int64(), lambda run: _summary(run, "best_epoch")),
        "train_seconds": (pa.float64(), lambda run: _summary(run, "train_seconds")),
        "predecessor": (pa.string(), lambda run: run.predecessor or None),
        "accuracy_change": (pa.float64(), lambda run: _comparison(run, "accuracy_change")),
        "change_p_value": (pa.float64(), lambda run: _comparison(run, "p_value")),
        "verdict": (pa.string(), _verdict),
        "warnings": (pa.list_(pa.string()), lambda run: list(run.warnings)),
        "spec": (pa.string(), _spec),
    }
    for name, variant in _VARIANTS.items():
        for field, kind in _FIGURES.items():
            found[f"{name}_{field}"] = (kind, _of_variant(variant, field))
    return found


def _word(enum: Any, value: int, prefix: str) -> str:
    return str(enum.Name(value)).removeprefix(prefix)


def _failure_reason(run: run_pb2.Run) -> str | None:
    if not run.HasField("failure"):
        return None
    return _word(run_pb2.FailureReason, run.failure.reason, "FAILURE_REASON_")


def _time(run: run_pb2.Run, field: str) -> datetime | None:
    if not run.HasField(field):  # type: ignore[arg-type]  # one of the times
        return None
    time: Timestamp = getattr(run, field)
    return time.ToDatetime(tzinfo=UTC)


def _summary(run: run_pb2.Run, field: str) -> Any:
    return getattr(run.summary, field) if run.HasField("summary") else None


def _comparison(run: run_pb2.Run, field: str) -> float | None:
    if not run.HasField("comparison"):
        return None
    if field == "p_value" and not run.comparison.HasField("p_value"):
        return None
    return float(getattr(run.comparison, field))


def _verdict(run: run_pb2.Run) -> str | None:
    if not run.HasField("comparison"):
        return None
    return _word(run_pb2.ComparisonVerdict, run.comparison.verdict, "COMPARISON_VERDICT_")


def _spec(run: run_pb2.Run) -> str:
    return json.dumps(json_format.MessageToDict(run.spec, preserving_proto_field_name=True))


def _of_variant(variant: run_pb2.Variant.ValueType, field: str) -> Reader:
    def read(run: run_pb2.Run) -> Any:
        for found in run.summary.variants:
            if found.variant == variant and found.HasField(field):  # type: ignore[arg-type]  # one of _FIGURES
                return getattr(found, field)
        return None

    return read


def read_runs(stream: BinaryIO) -> Iterator[run_pb2.Run]:
    """Read runs to the end of a stream; raises `EOFError` if one is cut off."""
    while head := stream.read(4):
        size = int.from_bytes(head, "big")
        data = stream.read(size)
        if len(head) < 4 or len(data) < size:  # noqa: PLR2004 - bytes of a length
            raise EOFError("the stream ends within a run")
        yield run_pb2.Run.FromString(data)


def write(stream: BinaryIO, path: Path) -> int:
    """Write the runs of a stream to a file, a row each, and say how many there were."""
    kinds = columns()
    schema = pa.schema([(name, kind) for name, (kind, _) in kinds.items()])
    count = 0
    with pq.ParquetWriter(path, schema, compression="zstd") as writer:
        rows: dict[str, list[Any]] = {name: [] for name in kinds}
        for run in read_runs(stream):
            count += 1
            for name, (_, reader) in kinds.items():
                rows[name].append(reader(run))
            if count % ROW_GROUP == 0:
                writer.write_table(pa.table(rows, schema=schema))
                rows = {name: [] for name in kinds}
        if rows["run"]:
            writer.write_table(pa.table(rows, schema=schema))
    return count


def main() -> int:
    """Write the file that the command line names."""
    os.nice(_NICENESS)
    write(sys.stdin.buffer, Path(sys.argv[1]))
    return 0


if __name__ == "__main__":
    sys.exit(main())
