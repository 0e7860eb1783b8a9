"""gRPC as every Linnet service speaks it: errors, validation, serving and calling."""
