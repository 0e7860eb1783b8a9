"""What every run promises once it has ended, whatever was killed meanwhile; pure checks."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

_PREFIX_PARTS = 4
"""A run's objects lie below projects/PROJECT/runs/RUN."""


@dataclass(frozen=True, slots=True)
class Spell:
    """A time in which one trainer had one attempt of a run; seconds of any one clock."""

    run: str
    attempt: int
    begin_s: float
    end_s: float


def foreign_keys(keys: Iterable[str], prefixes: Iterable[str]) -> list[str]:
    """Give the keys below no run's prefix: objects that nobody would ever delete."""
    known = set(prefixes)
    return [key for key in keys if "/".join(key.split("/")[:_PREFIX_PARTS]) not in known]


def lost_attempts_keys(keys: Iterable[str], prefix: str, attempt: int) -> list[str]:
    """Give what attempts before the last one left behind; only their output is kept."""
    attempts = f"{prefix}/attempts/"
    return [
        key
        for key in keys
        if key.startswith(attempts)
        and "/log/" not in key
        and not key.startswith(f"{attempts}{attempt}/")
    ]


def gaps(sequences: Sequence[int]) -> list[int]:
    """Give the numbers of an attempt's output that are missing, repeated or out of order."""
    wanted = range(1, len(sequences) + 1)
    return [found for found, number in zip(sequences, wanted, strict=True) if found != number]


def held_twice(spells: Iterable[Spell]) -> list[tuple[Spell, Spell]]:
    """Give pairs of spells in which two trainers had the same run at the same time."""
    ordered = sorted(spells, key=lambda spell: (spell.run, spell.begin_s))
    return [
        (one, other)
        for place, one in enumerate(ordered)
        for other in ordered[place + 1 :]
        if other.run == one.run and other.begin_s < one.end_s
    ]
