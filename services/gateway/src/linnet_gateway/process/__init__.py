"""The launcher of local mode: trainers as processes of this machine."""
