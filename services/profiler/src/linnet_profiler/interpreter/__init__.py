"""The real interpreter, as a check on the replay."""
