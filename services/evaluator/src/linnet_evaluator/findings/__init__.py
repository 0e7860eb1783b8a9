"""What the scores say of a run: comparison, folds, thresholds, failures."""
