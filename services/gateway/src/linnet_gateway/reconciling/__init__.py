"""Moves runs on in the background: one step at a time, whatever was lost."""
