"""A report as tables: scores, confusion matrix, on-device figures with bars."""

from collections.abc import Iterator

from linnet.v1 import evaluation_pb2, profile_pb2, run_pb2, training_service_pb2
from rich.markup import escape
from rich.table import Table

from linnet_sdk.cli.tables import new_table

_BAR_CELLS = 14
_SIDES = {
    evaluation_pb2.SPLIT_SIDE_VALIDATION: "validation",
    evaluation_pb2.SPLIT_SIDE_TEST: "test",
    evaluation_pb2.SPLIT_SIDE_TRAINING: "training",
}
_VARIANTS = {run_pb2.VARIANT_FLOAT32: "float32", run_pb2.VARIANT_INT8: "int8"}


def variant_word(variant: int) -> str:
    """Give a variant as its file names spell it."""
    return _VARIANTS.get(run_pb2.Variant.ValueType(variant), "file")


def side_word(side: int) -> str:
    """Give a split side for people."""
    return _SIDES.get(evaluation_pb2.SplitSide.ValueType(side), "rows")


def basis_word(basis: int) -> str:
    """Say how a figure was come by."""
    name = profile_pb2.Basis.Name(profile_pb2.Basis.ValueType(basis))
    return name.removeprefix("BASIS_").lower()


def scores(evaluation: evaluation_pb2.Evaluation, *, boxed: bool) -> Table:
    """Show the scores of each variant on each set of rows."""
    table = new_table(
        "variant", "rows", "count", "accuracy", "loss", "F1 (macro)", "balanced",
        boxed=boxed, right=("count", "accuracy", "loss", "F1 (macro)", "balanced"),
    )  # fmt: skip
    for found in evaluation.sets:
        table.add_row(
            variant_word(found.variant),
            side_word(found.side),
            str(found.sample_count),
            f"{found.scores.accuracy:.1%}",
            f"{found.scores.loss:.4f}",
            f"{found.scores.macro.f1:.3f}",
            f"{found.scores.balanced_accuracy:.1%}",
        )
    return table


def shown_sets(
    evaluation: evaluation_pb2.Evaluation,
) -> Iterator[evaluation_pb2.SetEvaluation]:
    """Choose the sets whose confusion is shown: the test set if there is one, else validation."""
    sides = {found.side for found in evaluation.sets}
    side = (
        evaluation_pb2.SPLIT_SIDE_TEST
        if evaluation_pb2.SPLIT_SIDE_TEST in sides
        else evaluation_pb2.SPLIT_SIDE_VALIDATION
    )
    return (found for found in evaluation.sets if found.side == side)


def confusion(found: evaluation_pb2.SetEvaluation, classes: list[str], *, boxed: bool) -> Table:
    """Show counts, rows = actual class, columns = predicted class, with the classes' scores."""
    table = new_table(
        "actual", *(escape(name) for name in classes), "recall", "prec.", "F1", boxed=boxed
    )
    for column in table.columns[1:]:
        column.justify = "right"
    for index, (name, row) in enumerate(zip(classes, found.confusion.rows, strict=False)):
        cells = [
            _cell(count, right=index == predicted) for predicted, count in enumerate(row.counts)
        ]
        own = found.class_scores[index] if index < len(found.class_scores) else None
        figures = ["", "", ""] if own is None else [
            f"{own.recall:.1%}", f"{own.precision:.1%}", f"{own.f1:.3f}"
        ]  # fmt: skip
        table.add_row(escape(name), *cells, *figures)
    return table


def confusion_title(found: evaluation_pb2.SetEvaluation) -> str:
    """Say which confusion matrix it is, and which way round."""
    which = f"{variant_word(found.variant)} on {side_word(found.side)} rows"
    return f"Confusion, {which}; columns: predicted as"


def _cell(count: int, *, right: bool) -> str:
    if count == 0:
        return "[dim].[/]"
    return f"[green]{count}[/]" if right else f"[red]{count}[/]"


def device(report: training_service_pb2.Report, *, boxed: bool) -> Table:
    """Show RAM, flash and time of each variant against the target's own memory."""
    target = report.target
    table = new_table(
        "variant", "what", "needs", "has", "share", "fits", "",
        boxed=boxed, right=("needs", "has", "share"),
    )  # fmt: skip
    for profile in report.profiles:
        word, verdict = variant_word(profile.variant), profile.verdict
        memories = (
            ("RAM", profile.ram.total_bytes, target.ram_bytes, verdict.ram_fits),
            ("flash", profile.flash.total_bytes, target.flash_bytes, verdict.flash_fits),
        )
        for what, needs, has, fits in memories:
            drawn = bar(needs, has) if boxed else ""
            row = (kibibytes(needs), kibibytes(has), share(needs, has), _yes(fits), drawn)
            table.add_row(word, what, *row)
        latency = profile.latency
        band = f"{latency.low_milliseconds:.2f}..{latency.high_milliseconds:.2f} ms"
        table.add_row(
            word,
            "time",
            f"{latency.milliseconds:.2f} ms",
            basis_word(latency.basis),
            "",
            _yes(verdict.latency_fits),
            band if latency.high_milliseconds > 0 else "",
        )
    return table


def _yes(fits: bool) -> str:
    return "[green]yes[/]" if fits else "[red]no[/]"


def target_line(target: profile_pb2.Target) -> str:
    """Give a target's name, clock and memory."""
    return escape(
        f"{target.display_name or target.id}: {target.clock_hz / 1e6:.0f} MHz, "
        f"{kibibytes(target.ram_bytes)} RAM, {kibibytes(target.flash_bytes)} flash"
    )


def share(used_bytes: int, have_bytes: int) -> str:
    """Give a share as a percentage; empty where there is nothing to compare with."""
    return f"{used_bytes / have_bytes:.1%}" if have_bytes > 0 else ""


def bar(used_bytes: int, have_bytes: int) -> str:
    """Draw a share as a bar, red and full when it is more than there is."""
    if have_bytes <= 0:
        return ""
    filled = used_bytes / have_bytes
    cells = min(_BAR_CELLS, max(1, round(filled * _BAR_CELLS))) if used_bytes else 0
    colour = "green" if filled <= 1 else "red"
    return f"[{colour}]{'█' * cells}[/][dim]{'░' * (_BAR_CELLS - cells)}[/]"


def kibibytes(size_bytes: int) -> str:
    """Give a size in KiB."""
    return f"{size_bytes / 1024:.1f} KiB"
