"""Profiles for people and programs."""
