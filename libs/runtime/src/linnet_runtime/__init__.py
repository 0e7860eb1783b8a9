"""What every Linnet process needs; knows no machine learning, no Kubernetes and no SQL."""
