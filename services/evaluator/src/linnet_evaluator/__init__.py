"""Scores of exported models on the very files that will run on the device."""

from linnet_evaluator.scores.scoring import score

__all__ = ["score"]
