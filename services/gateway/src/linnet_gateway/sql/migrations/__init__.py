"""Alembic's folder: one file a revision below versions/."""
