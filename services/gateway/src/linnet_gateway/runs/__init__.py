"""Runs: asked for, watched, and what came of them."""
