"""The records in SQL through SQLAlchemy: SQLite or PostgreSQL."""
