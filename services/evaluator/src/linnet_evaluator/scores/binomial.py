"""Exact binomial probabilities, without scipy's import time."""

import numpy as np


def lower_tail(successes: int, trials: int, share: float) -> float:
    """Give the probability of at most `successes` in `trials`, each succeeding with `share`.

    Summed in logarithms, so that neither factor under- or overflows; exact to about 1e-12.
    """
    if successes >= trials or share <= 0:
        return 1.0
    if share >= 1:
        return 0.0
    logs = np.concatenate(([0.0], np.cumsum(np.log(np.arange(1, trials + 1)))))
    hits = np.arange(successes + 1)
    terms = (
        logs[trials]
        - logs[hits]
        - logs[trials - hits]
        + hits * np.log(share)
        + (trials - hits) * np.log1p(-share)
    )
    top = terms.max()
    return min(1.0, float(np.exp(top) * np.exp(terms - top).sum()))


def two_sided_half(first: int, second: int) -> float:
    """Give the probability of a split this uneven or more if both were equally likely."""
    return min(1.0, 2 * lower_tail(min(first, second), first + second, 0.5))


def wilson(successes: int, trials: int) -> tuple[float, float]:
    """Give the 95 % Wilson score interval of a share (Wilson 1927)."""
    z = 1.959963984540054  # the normal distribution's 97.5 % point
    share = successes / trials
    middle = share + z * z / (2 * trials)
    spread = z * np.sqrt(share * (1 - share) / trials + z * z / (4 * trials * trials))
    scale = 1 + z * z / trials
    return max(0.0, float((middle - spread) / scale)), min(1.0, float((middle + spread) / scale))
