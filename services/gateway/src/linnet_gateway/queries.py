"""Which records a list shows."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from linnet_gateway.states import RunState


@dataclass(frozen=True, slots=True)
class Page:
    """Where a page of a list begins and how long it may be; newest first.

    Attributes:
        size: At least 1.
        after: Time and uid of the last record of the page before; None begins at the newest.
    """

    size: int
    after: tuple[datetime, str] | None = None


@dataclass(frozen=True, slots=True)
class RunFilter:
    """Which runs; an empty field means all."""

    states: frozenset[RunState] = frozenset()
    batch: str = ""
    dataset: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
