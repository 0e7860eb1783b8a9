"""The feature explorer: every row as a point."""
