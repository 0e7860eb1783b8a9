"""Records ⇄ messages of the contract; nothing is decided here."""

import json
from collections.abc import Iterable
from datetime import UTC, datetime

from google.protobuf import timestamp_pb2
from linnet.v1 import batch_pb2, dataset_pb2, profile_pb2, run_pb2
from linnet_ml import wire

from linnet_gateway.records import (
    BatchCounts,
    BatchRecord,
    DatasetRecord,
    FileRecord,
    RunRecord,
    StageRecord,
)
from linnet_gateway.states import Failure, FailureReason


def etag(uid: str, version: int) -> str:
    """Give the etag of a record's version."""
    return f"{uid[-6:]}-{version}"


_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_DAY_S = 86_400


def set_time(stamp: timestamp_pb2.Timestamp, time: datetime) -> None:
    """Set an aware time; protobuf's own FromDatetime takes five times as long."""
    since = time - _EPOCH
    stamp.seconds = since.days * _DAY_S + since.seconds
    stamp.nanos = since.microseconds * 1000


def file_message(file: FileRecord) -> dataset_pb2.StoredFile:
    """Give a stored file."""
    return dataset_pb2.StoredFile(
        name=file.name, key=file.key, size_bytes=file.size_bytes, sha256=file.sha256
    )


def dataset_message(dataset: DatasetRecord) -> dataset_pb2.Dataset:
    """Give a dataset."""
    facts = dataset.facts
    message = dataset_pb2.Dataset(
        name=dataset.name,
        uid=dataset.uid,
        display_name=dataset.display_name,
        state=dataset_pb2.DatasetState.ValueType(int(dataset.state)),
        input_kind=dataset_pb2.InputKind.ValueType(dataset.input_kind),
        classes=dataset.classes,
        feature_names=dataset.feature_names,
        input_shape=facts.input_shape,
        sample_count=facts.sample_count,
        class_counts=facts.class_counts,
        group_count=facts.group_count,
        test_count=facts.test_count,
        validation_count=facts.validation_count,
        files=[file_message(file) for file in dataset.files],
        digest=dataset.digest,
        etag=etag(dataset.uid, dataset.version),
    )
    set_time(message.create_time, dataset.create_time)
    return message


def failure_message(failure: Failure) -> run_pb2.Failure:
    """Give a failure."""
    return wire.to_message(failure, run_pb2.Failure)


def read_failure(message: run_pb2.Failure) -> Failure:
    """Read a failure that a trainer reports; a reason that is not known becomes INTERNAL."""
    known = {int(reason) for reason in FailureReason if reason}
    number = int(message.reason)
    return Failure(
        reason=FailureReason(number) if number in known else FailureReason.INTERNAL,
        message=message.message[:4000],
        exit_code=message.exit_code if message.HasField("exit_code") else None,
        out_of_memory=message.out_of_memory,
        log_tail=tuple(line[:1000] for line in message.log_tail[-100:]),
    )


def _stage_message(stage: StageRecord) -> run_pb2.Stage:
    message = run_pb2.Stage(
        kind=run_pb2.StageKind.ValueType(int(stage.kind)),
        state=run_pb2.StageState.ValueType(int(stage.state)),
    )
    _set_time(message, "start_time", stage.start_time)
    _set_time(message, "end_time", stage.end_time)
    if stage.failure is not None:
        message.failure.CopyFrom(failure_message(stage.failure))
    return message


def _set_time(
    message: run_pb2.Run | run_pb2.Stage | batch_pb2.Batch, field: str, time: datetime | None
) -> None:
    if time is not None:
        set_time(getattr(message, field), time)


_RUN_TIMES = (
    "create_time",
    "update_time",
    "start_time",
    "end_time",
    "cancel_time",
    "log_delete_time",
    "artifacts_delete_time",
)


def run_message(run: RunRecord) -> run_pb2.Run:
    """Give a run."""
    message = run_pb2.Run(
        name=run.name,
        uid=run.uid,
        display_name=run.display_name,
        labels=run.labels,
        state=run_pb2.RunState.ValueType(int(run.state)),
        attempt=run.attempt,
        predecessor=run.predecessor,
        etag=etag(run.uid, run.version),
        warnings=run.warnings,
        waiting=run.waiting,
        phase=run_pb2.TrainerPhase.ValueType(run.phase),
        batch_index=run.batch_index,
        stages=[_stage_message(stage) for stage in run.stages],
        artifacts=[file_message(file) for file in run.artifacts],
    )
    if run.batch_id:
        message.batch = f"projects/{run.project}/batches/{run.batch_id}"
    message.spec.MergeFromString(run.spec)
    for field in _RUN_TIMES:
        _set_time(message, field, getattr(run, field))
    if run.failure is not None:
        message.failure.CopyFrom(failure_message(run.failure))
    if run.progress:
        message.progress.MergeFromString(run.progress)
    if run.summary:
        message.summary.MergeFromString(run.summary)
    if run.comparison:
        message.comparison.MergeFromString(run.comparison)
    return message


def batch_message(
    batch: BatchRecord, counts: BatchCounts, eta_seconds: float | None
) -> batch_pb2.Batch:
    """Give a batch."""
    message = batch_pb2.Batch(
        name=batch.name,
        uid=batch.uid,
        display_name=batch.display_name,
        state=batch_pb2.BatchState.ValueType(int(batch.state)),
        shard_size=batch.shard_size,
        parallelism=batch.parallelism,
        priority=batch.priority,
        run_count=batch.run_count,
        etag=etag(batch.uid, batch.version),
        eta_seconds=eta_seconds,
    )
    set_time(message.create_time, batch.create_time)
    _set_time(message, "end_time", batch.end_time)
    _set_time(message, "cancel_time", batch.cancel_time)
    for state, count in sorted(counts.states.items()):
        message.run_counts.add(state=run_pb2.RunState.ValueType(int(state)), run_count=count)
    for reason, count in sorted(counts.failures.items()):
        message.failure_counts.add(
            reason=run_pb2.FailureReason.ValueType(int(reason)), run_count=count
        )
    for verdict, count in sorted(counts.verdicts.items()):
        message.verdict_counts.add(
            verdict=run_pb2.ComparisonVerdict.ValueType(verdict), run_count=count
        )
    return message


def fill_device_figures(summary: run_pb2.VariantSummary, profile: profile_pb2.Profile) -> None:
    """Note what a variant needs on a target."""
    summary.ram_bytes = profile.ram.total_bytes
    summary.flash_bytes = profile.flash.total_bytes
    summary.latency_us = profile.latency.milliseconds * 1000.0
    summary.fits = profile.verdict.fits


def merged_epochs(rows: Iterable[tuple[int, int, bytes]]) -> list[run_pb2.Epoch]:
    """Give one entry an epoch; one that a later attempt trained again counts as it did there."""
    latest: dict[tuple[int, int], run_pb2.Epoch] = {}
    for _attempt, _sequence, payload in rows:
        epoch = run_pb2.Epoch.FromString(payload)
        latest[epoch.fold, epoch.number] = epoch
    return list(latest.values())


def log_lines(entries: Iterable[run_pb2.LogEntry]) -> bytes:
    """Give log entries as JSON lines, as they lie in the object store."""
    from google.protobuf import json_format

    lines = (
        json.dumps(
            json_format.MessageToDict(entry, preserving_proto_field_name=True),
            separators=(",", ":"),
        )
        for entry in entries
    )
    return "".join(f"{line}\n" for line in lines).encode()


def read_log_lines(data: bytes) -> list[run_pb2.LogEntry]:
    """Read what `log_lines` wrote."""
    from google.protobuf import json_format

    return [
        json_format.Parse(line, run_pb2.LogEntry(), ignore_unknown_fields=True)
        for line in data.splitlines()
        if line
    ]
