"""TrainingService: its transports, who may call it, and messages in and out."""
