"""Local mode: object store, gateway, evaluator and profiler on one machine, under one folder."""
