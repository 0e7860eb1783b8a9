"""Scores of exported models on the very files that will run on the device."""
