"""Ways to make a model smaller or faster, with what each would save."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Suggestion:
    """One way.

    Attributes:
        text: What to do.
        operator: Operator it is about; -1 for the whole model.
        saved_us: Time saved, in microseconds.
        saved_ram_bytes: RAM saved.
        saved_flash_bytes: Flash saved.
    """

    text: str
    operator: int
    saved_us: float
    saved_ram_bytes: int
    saved_flash_bytes: int
