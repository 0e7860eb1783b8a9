"""When a call is made again: UNAVAILABLE only, with growing pauses, up to a deadline."""

import random
from collections.abc import Callable
from dataclasses import dataclass

from linnet_runtime.errors import LinnetError, Unavailable


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How long and how often a call that finds nobody is made again.

    Attributes:
        limit_s: Seconds after which the last error stands; outlasts the restart of a gateway.
        unreached_limit_s: The same for a server that has never answered: most likely none is there.
        first_s: Upper end of the first pause, in seconds; each further one is twice as long.
        longest_s: Upper end of the longest pause, in seconds.
    """

    limit_s: float = 30.0
    unreached_limit_s: float = 3.0
    first_s: float = 0.1
    longest_s: float = 2.0


USUAL = RetryPolicy()
NEVER = RetryPolicy(limit_s=0.0, unreached_limit_s=0.0)


class Attempts:
    """The attempts of one call or one stream.

    Args:
        policy: How long to go on.
        reached: Whether the server has answered before.
        monotonic: Gives seconds that never go back.
        uniform: Gives a random number between two; pauses are drawn with full jitter.
    """

    def __init__(
        self,
        policy: RetryPolicy,
        monotonic: Callable[[], float],
        *,
        reached: bool = True,
        uniform: Callable[[float, float], float] = random.uniform,
    ) -> None:
        self._policy = policy
        self._limit_s = policy.limit_s if reached else policy.unreached_limit_s
        self._monotonic = monotonic
        self._uniform = uniform
        self._begun = monotonic()
        self._failures = 0

    def succeeded(self) -> None:
        """Count from the beginning again: something came."""
        self._limit_s = self._policy.limit_s
        self._begun = self._monotonic()
        self._failures = 0

    def pause_after(self, error: LinnetError) -> float:
        """Give the seconds to wait before the next attempt.

        Raises:
            LinnetError: `error` itself, where another attempt is no use or too late.
        """
        if not isinstance(error, Unavailable):
            raise error
        ceiling = min(self._policy.longest_s, self._policy.first_s * 2**self._failures)
        self._failures += 1
        pause = self._uniform(0.0, ceiling)
        if self._monotonic() + pause - self._begun >= self._limit_s:
            raise error
        return pause
