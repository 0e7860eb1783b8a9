"""Where it fails, as the template shows it."""

from collections.abc import Sequence
from typing import Any

from linnet.v1 import evaluation_pb2

from linnet_evaluator.report import words

_SHOWN_ROWS = 12


def _named(row: int, sample_id: str) -> str:
    return f"{sample_id} (row {row})" if sample_id else f"row {row}"


def _part(found: evaluation_pb2.FailureAnalysis, classes: Sequence[str]) -> dict[str, Any]:
    return {
        "title": f"{words.VARIANTS[found.variant]}, {words.SIDES[found.side]} set",
        "hardest": [
            (
                _named(s.row, s.sample_id),
                classes[s.actual],
                classes[s.predicted],
                f"{s.actual_score:.3f}",
                f"{s.predicted_score:.3f}",
                s.group,
            )
            for s in found.hardest[:_SHOWN_ROWS]
        ],
        "pairs": [
            (classes[p.actual], classes[p.predicted], p.count, f"{p.share * 100:.1f} %")
            for p in found.confused_pairs[:_SHOWN_ROWS]
        ],
        "suspects": [
            (
                _named(s.row, s.sample_id),
                classes[s.given],
                classes[s.suggested],
                f"{s.given_score:.3f}",
                f"{s.suggested_score:.3f}",
            )
            for s in found.label_suspects[:_SHOWN_ROWS]
        ],
        "groups": [
            (
                g.group,
                g.sample_count,
                f"{g.accuracy * 100:.1f} %",
                f"{g.interval.low * 100:.1f} to {g.interval.high * 100:.1f}",
                f"{g.p_value:.2g}",
            )
            for g in found.groups[:_SHOWN_ROWS]
        ],
        "worst_group": found.worst_group,
    }


def failures(evaluation: evaluation_pb2.Evaluation) -> list[dict[str, Any]]:
    """Make the part on failures, one entry a variant and set."""
    return [_part(found, list(evaluation.classes)) for found in evaluation.failures]
