"""Which records a list shows."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Generic, TypeVar, overload

from linnet_gateway.states import RunState

R = TypeVar("R")


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


@dataclass(frozen=True)
class Found(Sequence[R], Generic[R]):
    """Records of a page.

    Attributes:
        records: In the list's order.
        reached: Time and uid of the record at which looking ended before the page was full; None
            where it is full, or nothing is left.
    """

    records: Sequence[R]
    reached: tuple[datetime, str] | None = None

    def __len__(self) -> int:
        return len(self.records)

    @overload
    def __getitem__(self, index: int) -> R: ...

    @overload
    def __getitem__(self, index: slice) -> Sequence[R]: ...

    def __getitem__(self, index: int | slice) -> R | Sequence[R]:
        return self.records[index]
