"""ProfilerService."""
