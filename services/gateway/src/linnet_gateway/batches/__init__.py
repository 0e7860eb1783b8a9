"""Batches: filled, steered as a whole, and their results."""
