"""Launches: the port, which run goes where, and what became of them."""
