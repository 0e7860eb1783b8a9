"""EvaluatorService."""
