"""What can go wrong in the testbed."""

from __future__ import annotations


class TestbedFault(Exception):
    """The testbed could not do what it was asked; the message says what and why."""

    __test__ = False


class Unsupported(TestbedFault):
    """This machine lacks something that the testbed needs; the message is one line."""
