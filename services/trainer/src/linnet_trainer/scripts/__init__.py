"""Expert scripts: run confined in a child, reported by their own lines."""
