"""What the C library's routines count on Armv6-M: copies, fills, divisions.

Read off the disassembly of Debian's newlib 3.3 (memcpy, memset) and of gcc 12.2's libgcc
(__divsi3), thumb/v6-m/nofp: these loops are known, so that no fit has to tell them apart.
"""

from __future__ import annotations

from math import erf, sqrt
from typing import Final

_WORD: Final = 4
_BLOCK: Final = 16
# Division: instructions where the quotient is below 2, below 16, and below 256.
_POSITIVE: Final = (12.5, 30.5, 53.0)
_NEGATIVE: Final = (41.5, 41.5, 64.0)
_QUOTIENTS: Final = (1.5, 15.5)


def copy_instructions(length: int, *, aligned: bool) -> float:
    """Instructions of one memcpy.

    Args:
        length: Bytes, at least 0.
        aligned: Source and destination lie on 4.
    """
    if length < _BLOCK:
        return 9.0 + 6 * length
    if not aligned:
        return 15.0 + 6 * length
    blocks, rest = divmod(length, _BLOCK)
    words, left = divmod(rest, _WORD)
    return 35.0 + 13 * blocks + (6 * words + 6 if words else 0) + (6 * left + 1 if left else 0)


def fill_instructions(length: int, *, lead: int) -> float:
    """Instructions of one memset.

    Args:
        length: Bytes, at least 0.
        lead: Bytes from the destination to the next word, 0 to 3.
    """
    lead = min(lead, length)
    if lead:
        return 5.0 + 7 * lead + fill_instructions(length - lead, lead=0)
    if length < _WORD:
        return 12.0 + (4 * length + 2 if length else 0)
    blocks, rest = divmod(length, _BLOCK)
    words, left = divmod(rest, _WORD)
    count = 20.0 + (19 + 7 * blocks if blocks else 2)
    return count + (12 + 3 * words if words else 0) + (2 + 4 * left if left else 0)


def division_instructions(mean: float, deviation: float) -> float:
    """Expected instructions of a signed division whose quotient is normally distributed.

    Args:
        mean: Of the quotient, within [-128, 127].
        deviation: Its standard deviation, at least 0.
    """
    small, middle = _QUOTIENTS
    edges = [-middle, -small, 0.0, small, middle]
    below = [0.0, *(_share_below((edge - mean) / max(deviation, 1e-3)) for edge in edges), 1.0]
    costs = [*reversed(_NEGATIVE), *_POSITIVE]
    return sum(
        cost * (end - begin) for cost, begin, end in zip(costs, below, below[1:], strict=False)
    )


def _share_below(deviations: float) -> float:
    return 0.5 * (1 + erf(deviations / sqrt(2)))
