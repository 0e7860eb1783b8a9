"""Datasets and the objects that hold them."""
