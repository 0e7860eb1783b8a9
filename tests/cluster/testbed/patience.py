"""Waiting for a condition, with a deadline and a reason."""

from __future__ import annotations

import time
from collections.abc import Callable

from .faults import TestbedFault


def wait_until(
    condition: Callable[[], bool],
    timeout_s: float,
    what: str,
    *,
    detail: Callable[[], str] = str,
    interval_s: float = 0.05,
) -> None:
    """Return once `condition` holds.

    Args:
        condition: Asked every `interval_s`.
        timeout_s: How long to wait.
        what: What is awaited, for the message.
        detail: Called at the deadline to say what is known then.
        interval_s: Pause between two looks.

    Raises:
        TestbedFault: It did not hold within `timeout_s`.
    """
    deadline = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > deadline:
            raise TestbedFault(f"waited {timeout_s:g} s in vain: {what}. {detail()}".strip())
        time.sleep(interval_s)
