"""Comparisons, thresholds and profiles of runs, for people."""

from linnet.v1 import evaluation_pb2, evaluator_service_pb2, training_service_pb2
from rich.markup import escape
from rich.table import Table

from linnet_sdk.cli.report_tables import basis_word, kibibytes, side_word, variant_word
from linnet_sdk.cli.tables import new_table
from linnet_sdk.names import short_name


def comparison(
    run: str, other: str, found: evaluator_service_pb2.CompareScoresResponse
) -> list[str]:
    """Say on which rows two runs differ, and whether that is more than chance."""
    first, second = short_name(run), short_name(other)
    gain, interval = found.accuracy_gain, found.accuracy_gain_interval
    change = f"{gain * 100:+.1f} points ({interval.low * 100:+.1f} to {interval.high * 100:+.1f})"
    told = {
        "rows": found.sample_count,
        "both right": found.both_right_count,
        f"only {first}": found.first_only_count,
        f"only {second}": found.second_only_count,
        "both wrong": found.both_wrong_count,
        "accuracy": f"{change} for {second}, p = {found.p_value:.3g}",
    }
    width = max(len(what) for what in told)
    lines = [f"{what:<{width}}  {value}" for what, value in told.items()] + [found.verdict]
    return [escape(line) for line in lines]


def threshold_lines(found: evaluation_pb2.ThresholdOutcome) -> list[str]:
    """Give what is left of a run's scores, one figure a line."""
    given = ", ".join(f"{value:g}" for value in found.thresholds)
    right, macro = f"{found.certain_accuracy:.1%}", f"precision {found.precision:.1%}"
    return [
        f"thresholds  {given} on {side_word(found.side)} rows",
        f"certain     {found.certain_share:.1%} of rows, {right} of them right",
        f"macro       {macro}, recall {found.recall:.1%}, F1 {found.f1:.3f}",
    ]


def uncertain_confusion(
    found: evaluation_pb2.ThresholdOutcome, classes: list[str], *, boxed: bool
) -> Table:
    """Show counts, rows = actual class, columns = predicted class, and the uncertain ones."""
    table = new_table("actual", *(escape(name) for name in classes), "uncertain", boxed=boxed)
    for column in table.columns[1:]:
        column.justify = "right"
    for index, (name, row) in enumerate(zip(classes, found.confusion.rows, strict=False)):
        counts = [str(count) for count in list(row.counts)[: len(classes)]]
        uncertain = found.uncertain_counts
        left = str(uncertain[index]) if index < len(uncertain) else ""
        table.add_row(escape(name), *counts, left)
    return table


def profiles(found: training_service_pb2.GetProfileResponse, *, boxed: bool) -> Table:
    """Show a line a board and variant."""
    table = new_table(
        "board", "variant", "RAM", "flash", "time", "from", "fits",
        boxed=boxed, right=("RAM", "flash", "time"),
    )  # fmt: skip
    for profile in found.profiles:
        table.add_row(
            escape(profile.target),
            variant_word(profile.variant),
            kibibytes(profile.ram.total_bytes),
            kibibytes(profile.flash.total_bytes),
            f"{profile.latency.milliseconds:.2f} ms",
            basis_word(profile.latency.basis),
            "[green]yes[/]" if profile.verdict.fits else "[red]no[/]",
        )
    return table


def profile_lines(
    found: training_service_pb2.GetProfileResponse, *, every_board: bool
) -> list[str]:
    """Say what the table can't: the smallest board, why one won't do, and what was checked."""
    lines = []
    if every_board:
        lines.append(f"smallest board that fits: {found.smallest_target or 'none'}")
    else:
        lines += [
            f"{profile.target}, {variant_word(profile.variant)}: {reason}"
            for profile in found.profiles
            for reason in profile.verdict.reasons
        ]
    for check in found.checks:
        said = "is not installed there"
        if check.available:
            same = "as replayed" if check.agrees else f"replayed: {check.replayed_bytes}"
            said = check.problem or f"needs an arena of {check.arena_bytes} bytes, {same}"
        lines.append(f"interpreter, {variant_word(check.variant)}: {said}")
    return [escape(line) for line in lines]
