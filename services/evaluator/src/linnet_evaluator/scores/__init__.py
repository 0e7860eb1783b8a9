"""Scores: pure, from class scores and labels alone."""
