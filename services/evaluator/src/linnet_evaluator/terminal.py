"""Scores on a terminal; plain when piped."""

from rich.console import Console
from rich.table import Table

from linnet_evaluator.scores.scoring import Scoring

_PERCENT = 100.0


def print_scoring(scoring: Scoring, console: Console | None = None) -> None:
    """Print scores, classes and the confusion matrix, rows = actual, columns = predicted."""
    console = console or Console(highlight=False)
    console.print(f"{len(scoring.predicted)} rows")
    for name, value in (
        ("accuracy", scoring.accuracy),
        ("balanced_accuracy", scoring.balanced_accuracy),
        ("mcc", scoring.mcc),
        ("macro_f1", scoring.macro.f1),
    ):
        low, high = scoring.intervals[name]
        console.print(f"{name:18} {value:.4f}  95 % interval {low:.4f} to {high:.4f}")
    trust = scoring.trust
    for name, value in (("loss", trust.loss), ("brier", trust.brier), ("ece", trust.ece)):
        console.print(f"{name:18} {value:.4f}")
    console.print(f"{trust.zero_score_count} rows scored zero for their actual class")
    console.print(_classes(scoring))
    console.print(_matrix(scoring))


def _classes(scoring: Scoring) -> Table:
    table = Table(title="per class")
    for column in ("class", "precision", "recall", "f1", "rows"):
        table.add_column(column, justify="right")
    of = scoring.classes
    for c in range(len(of.support)):
        table.add_row(
            str(c),
            f"{of.precision[c]:.3f}",
            f"{of.recall[c]:.3f}",
            f"{of.f1[c]:.3f}",
            f"{of.support[c]:.0f}",
        )
    return table


def _matrix(scoring: Scoring) -> Table:
    table = Table(title="confusion matrix: rows actual, columns predicted")
    table.add_column("actual", justify="right")
    for c in range(len(scoring.confusion)):
        table.add_column(str(c), justify="right")
    for c, row in enumerate(scoring.confusion.tolist()):
        table.add_row(str(c), *(str(n) for n in row))
    return table
