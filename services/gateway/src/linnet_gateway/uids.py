"""Uids of records: never used again, and in order of creation on one machine."""

import secrets
import time

_ALPHABET = "0123456789abcdefghijklmnopqrstuv"


def new_uid() -> str:
    """Make a uid of 20 characters: a letter, milliseconds since 1970 in base 32, 45 random bits."""
    milliseconds = time.time_ns() // 1_000_000
    digits = [_ALPHABET[(milliseconds >> shift) & 31] for shift in range(45, -1, -5)]
    tail = [secrets.choice(_ALPHABET) for _ in range(9)]
    return "u" + "".join(digits) + "".join(tail)
