"""Scores, confusion matrices, classes, comparison and folds, as the template shows them."""

from collections.abc import Sequence
from typing import Any

from linnet.v1 import evaluation_pb2

from linnet_evaluator.report import words

_STRONG_FROM = 0.7


def _with_interval(value: float, interval: evaluation_pb2.Interval | None) -> dict[str, str]:
    ends = "" if interval is None else f"{interval.low:.3f} to {interval.high:.3f}"
    return {"value": f"{value:.3f}", "interval": ends}


def _optional(message: Any, name: str) -> str:
    return f"{getattr(message, name):.3f}" if message.HasField(name) else "undefined"


def _score_rows(sets: Sequence[evaluation_pb2.SetEvaluation]) -> list[dict[str, Any]]:
    rows = []
    for found in sets:
        scores = found.scores
        known = scores.intervals
        rows.append(
            {
                "variant": words.VARIANTS[found.variant],
                "side": words.SIDES[found.side],
                "rows": f"{found.sample_count:,}",
                "cells": [
                    _with_interval(scores.accuracy, known.get("accuracy")),
                    _with_interval(scores.balanced_accuracy, known.get("balanced_accuracy")),
                    _with_interval(scores.mcc, known.get("mcc")),
                    _with_interval(scores.macro.f1, known.get("macro_f1")),
                    _with_interval(scores.loss, None),
                    {"value": _optional(scores.macro, "roc_auc"), "interval": ""},
                    {"value": _optional(scores.macro, "average_precision"), "interval": ""},
                    _with_interval(scores.brier, None),
                    _with_interval(scores.ece, None),
                ],
            }
        )
    return rows


def _matrix(found: evaluation_pb2.SetEvaluation, classes: Sequence[str]) -> dict[str, Any]:
    rows: list[dict[str, Any]] = []
    for name, row in zip(classes, found.confusion.rows, strict=True):
        total = sum(row.counts)
        cells = []
        for column, count in enumerate(row.counts):
            share = count / total if total else 0.0
            cells.append(
                {
                    "count": count,
                    "share": share,
                    "heat": round(share * 100),
                    "strong": share >= _STRONG_FROM,
                    "right": column == len(rows),
                }
            )
        rows.append({"name": name, "cells": cells, "total": total})
    title = f"{words.VARIANTS[found.variant]}, {words.SIDES[found.side]} set"
    return {"title": title, "classes": list(classes), "rows": rows}


def _class_rows(
    found: evaluation_pb2.SetEvaluation, classes: Sequence[str]
) -> list[dict[str, Any]]:
    return [
        {
            "name": name,
            "cells": [
                f"{scores.precision:.3f}",
                f"{scores.recall:.3f}",
                f"{scores.f1:.3f}",
                _optional(scores, "roc_auc"),
                _optional(scores, "average_precision"),
                f"{scores.support:,}",
            ],
        }
        for name, scores in zip(classes, found.class_scores, strict=True)
    ]


def _comparison(found: evaluation_pb2.VariantComparison) -> dict[str, str]:
    word = words.VARIANTS[found.recommended]
    return {
        "recommended": "quantization-aware work" if word == "model" else word,
        "reason": found.reason,
        "agreement": f"{found.agreement * 100:.1f} %",
        "side": words.SIDES.get(found.side, ""),
        "flipped": f"{len(found.flipped_rows):,}",
    }


def _folds(found: evaluation_pb2.CrossValidation) -> dict[str, Any]:
    names = ("accuracy", "loss", "balanced_accuracy", "mcc", "macro_f1")
    return {
        "rows": [
            (fold.fold, fold.sample_count, *(f"{getattr(fold, name):.3f}" for name in names))
            for fold in found.folds
        ],
        "summary": [
            f"{found.summary[name].mean:.3f} ± {found.summary[name].standard_deviation:.3f}"
            for name in names
        ],
    }


def scores(evaluation: evaluation_pb2.Evaluation) -> dict[str, Any]:
    """Make the part on scores."""
    classes = list(evaluation.classes)
    order = {side: place for place, side in enumerate(words.SIDE_ORDER)}
    sets = sorted(evaluation.sets, key=lambda s: (order.get(s.side, 9), s.variant))
    shown = [s for s in sets if s.side == sets[0].side] if sets else []
    return {
        "rows": _score_rows(sets),
        "zeros": sum(s.scores.zero_score_count for s in sets),
        "matrices": [_matrix(s, classes) for s in shown],
        "more_matrices": [_matrix(s, classes) for s in sets if s not in shown],
        "classes": [
            {
                "title": f"{words.VARIANTS[s.variant]}, {words.SIDES[s.side]} set",
                "rows": _class_rows(s, classes),
            }
            for s in shown
        ],
        "comparison": (
            _comparison(evaluation.comparison) if evaluation.HasField("comparison") else None
        ),
        "folds": (
            _folds(evaluation.cross_validation) if evaluation.HasField("cross_validation") else None
        ),
    }
