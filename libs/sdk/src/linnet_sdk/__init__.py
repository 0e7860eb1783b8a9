"""Python client of Linnet and the `linnet` command; knows no service and no TensorFlow."""
