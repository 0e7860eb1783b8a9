"""Thresholds, as the template shows them."""

from typing import Any

from linnet.v1 import evaluation_pb2

from linnet_evaluator.report import words


def thresholds(evaluation: evaluation_pb2.Evaluation) -> list[dict[str, Any]]:
    """Make the part on thresholds, one entry a variant."""
    found = []
    for analysis in evaluation.thresholds:
        by_class = zip(evaluation.classes, analysis.suggested_by_class, strict=False)
        found.append(
            {
                "variant": words.VARIANTS[analysis.variant],
                "figure": f"thresholds-{words.VARIANTS[analysis.variant]}",
                "chosen_on": words.SIDES[analysis.chosen_on],
                "suggested": f"{analysis.suggested:.2f}",
                "by_class": [(name, f"{value:.2f}") for name, value in by_class],
                "outcomes": [
                    {
                        "side": words.SIDES[outcome.side],
                        "kind": "one for all" if len(outcome.thresholds) == 1 else "by class",
                        "cells": [
                            f"{outcome.certain_share * 100:.1f} %",
                            f"{outcome.certain_accuracy * 100:.1f} %",
                            f"{outcome.precision:.3f}",
                            f"{outcome.recall:.3f}",
                            f"{outcome.f1:.3f}",
                            f"{sum(outcome.uncertain_counts):,}",
                        ],
                    }
                    for outcome in analysis.outcomes
                ],
            }
        )
    return found
