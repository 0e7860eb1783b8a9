"""The trainer's side of RunnerService: assignments, reports, transfers."""
