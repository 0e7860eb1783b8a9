"""A real Kubernetes on one machine, from Go modules and Debian packages, for tests and for people.

`python -m testbed up` starts it, `down` stops it and leaves nothing behind.
"""
