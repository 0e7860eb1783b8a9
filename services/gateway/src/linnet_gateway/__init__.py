"""TrainingService and RunnerService: takes specs, launches trainers, keeps every run's record."""
