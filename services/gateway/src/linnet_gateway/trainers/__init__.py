"""RunnerService: what trainers ask for and report."""
