"""A run without a gateway: files in, artifacts out."""
