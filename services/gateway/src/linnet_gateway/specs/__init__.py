"""From the spec that a caller sends to the one that a run stores."""
