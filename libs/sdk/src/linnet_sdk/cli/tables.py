"""Tables of datasets and runs; boxed in a terminal, bare columns when piped."""

from collections.abc import Sequence

from linnet.v1 import dataset_pb2, run_pb2
from rich import box
from rich.markup import escape
from rich.table import Table

from linnet_sdk.names import short_name, state_word


def new_table(*headings: str, boxed: bool, right: Sequence[str] = ()) -> Table:
    """Make an empty table; columns named in `right` are aligned to the right."""
    table = Table(
        box=box.SIMPLE_HEAD if boxed else None,
        pad_edge=False,
        header_style="bold",
    )
    for heading in headings:
        table.add_column(heading, justify="right" if heading in right else "left", no_wrap=True)
    return table


def kind_word(kind: int) -> str:
    """Give an input kind as the command line spells it."""
    name = dataset_pb2.InputKind.Name(dataset_pb2.InputKind.ValueType(kind))
    return name.removeprefix("INPUT_KIND_").lower().replace("_", "-")


def dataset_line(dataset: dataset_pb2.Dataset) -> str:
    """Give a dataset's facts on one line."""
    shape = " x ".join(str(n) for n in dataset.input_shape)
    groups = f", {dataset.group_count} groups" if dataset.group_count else ""
    marks = {"validation": dataset.validation_count, "test": dataset.test_count}
    sides = "".join(f", {count} {side} rows" for side, count in marks.items() if count)
    return escape(
        f"{short_name(dataset.name)}  {kind_word(dataset.input_kind)}  "
        f"{dataset.sample_count} samples of {shape}, {len(dataset.classes)} classes{groups}{sides}"
    )


def datasets(found: Sequence[dataset_pb2.Dataset], *, boxed: bool) -> Table:
    """List datasets."""
    table = new_table(
        "dataset", "kind", "samples", "shape", "classes", "groups", "validation", "test", "created",
        boxed=boxed, right=("samples", "classes", "groups", "validation", "test"),
    )  # fmt: skip
    for dataset in found:
        table.add_row(
            short_name(dataset.name),
            kind_word(dataset.input_kind),
            str(dataset.sample_count),
            "x".join(str(n) for n in dataset.input_shape),
            str(len(dataset.classes)),
            str(dataset.group_count),
            str(dataset.validation_count),
            str(dataset.test_count),
            dataset.create_time.ToJsonString()[:19],
        )
    return table


def class_counts(dataset: dataset_pb2.Dataset, *, boxed: bool) -> Table:
    """List a dataset's classes."""
    table = new_table("class", "samples", boxed=boxed, right=("samples",))
    for name, count in zip(dataset.classes, dataset.class_counts, strict=False):
        table.add_row(escape(name), str(count))
    return table


def runs(found: Sequence[run_pb2.Run], *, boxed: bool) -> Table:
    """List runs with their latest figures."""
    table = new_table(
        "run", "state", "dataset", "epoch", "accuracy", "int8", "RAM", "flash", "created",
        boxed=boxed, right=("epoch", "accuracy", "int8", "RAM", "flash"),
    )  # fmt: skip
    for run in found:
        by_variant = {v.variant: v for v in run.summary.variants}
        float32 = by_variant.get(run_pb2.VARIANT_FLOAT32)
        int8 = by_variant.get(run_pb2.VARIANT_INT8)
        table.add_row(
            short_name(run.name),
            state_word(run),
            short_name(run.spec.dataset),
            f"{run.progress.epoch}/{run.progress.epochs}" if run.progress.epochs else "",
            _accuracy(float32),
            _accuracy(int8),
            _kibibytes(int8.ram_bytes if int8 and int8.HasField("ram_bytes") else None),
            _kibibytes(int8.flash_bytes if int8 and int8.HasField("flash_bytes") else None),
            run.create_time.ToJsonString()[:19],
        )
    return table


def run_lines(run: run_pb2.Run) -> list[str]:
    """Give a run's facts, one a line."""
    lines = [
        f"run      {run.name}",
        f"state    {state_word(run)}{': ' + run.waiting if run.waiting else ''}",
        f"dataset  {run.spec.dataset}",
        f"created  {run.create_time.ToJsonString()[:19]}",
    ]
    if run.progress.epochs:
        lines.append(f"epoch    {run.progress.epoch} of {run.progress.epochs}")
    for stage in run.stages:
        kind = run_pb2.StageKind.Name(stage.kind).removeprefix("STAGE_KIND_").lower()
        state = run_pb2.StageState.Name(stage.state).removeprefix("STAGE_STATE_")
        lines.append(f"{kind:<8} {state}{_stage_seconds(stage)}")
    if run.HasField("failure"):
        reason = run_pb2.FailureReason.Name(run.failure.reason).removeprefix("FAILURE_REASON_")
        lines.append(f"failure  {reason}: {run.failure.message}")
    lines += [f"warning  {warning}" for warning in run.warnings]
    if run.HasField("log_delete_time"):
        lines.append(f"gone     output, since {run.log_delete_time.ToJsonString()[:19]}")
    if run.HasField("artifacts_delete_time"):
        lines.append(f"gone     artifacts, since {run.artifacts_delete_time.ToJsonString()[:19]}")
    return [escape(line) for line in lines]


def _stage_seconds(stage: run_pb2.Stage) -> str:
    if not stage.HasField("start_time") or not stage.HasField("end_time"):
        return ""
    taken = stage.end_time.ToDatetime() - stage.start_time.ToDatetime()
    return f", {taken.total_seconds():.1f} s"


def _accuracy(variant: run_pb2.VariantSummary | None) -> str:
    if variant is None:
        return ""
    if variant.HasField("test_accuracy"):
        return f"{variant.test_accuracy:.1%}"
    return f"{variant.validation_accuracy:.1%}" if variant.HasField("validation_accuracy") else ""


def _kibibytes(size_bytes: int | None) -> str:
    return "" if size_bytes is None else f"{size_bytes / 1024:.1f} KiB"
