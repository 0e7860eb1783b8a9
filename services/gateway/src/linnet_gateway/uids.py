"""Uids of records: never used again, and in order of creation on one machine."""

import secrets
import time

_ALPHABET = "0123456789abcdefghijklmnopqrstuv"


def new_uid() -> str:
    """Make a uid of 20 characters: a letter, milliseconds since 1970 in base 32, 45 random bits."""
    number = (time.time_ns() // 1_000_000) << 45 | secrets.randbits(45)
    return "u" + "".join([_ALPHABET[(number >> shift) & 31] for shift in range(90, -1, -5)])
