"""Runs model files; opened only in a sandbox's child."""
