"""What lies in the object store: datasets, files of runs, scores, results."""
