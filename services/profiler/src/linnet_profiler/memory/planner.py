"""GreedyMemoryPlanner of TFLM: where each buffer of the plan lies.

Source: tensorflow/lite/micro/memory_planner/greedy_memory_planner.cc.
"""

from __future__ import annotations

from bisect import bisect_right, insort
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np


@dataclass(frozen=True, slots=True)
class PlanRequest:
    """A buffer to place.

    Attributes:
        size_bytes: Multiple of 16.
        first_used: First operator scope that needs it.
        last_used: Last operator scope that needs it, inclusive.
        offline_offset: Offset fixed by the file, or -1.
    """

    size_bytes: int
    first_used: int
    last_used: int
    offline_offset: int = -1


def greedy_offsets(requests: Sequence[PlanRequest]) -> list[int]:
    """Offset of each request in the head, in the order given.

    Offline buffers go first and unsorted; the others by size, largest first, equal sizes last
    request first, each into the first gap among the buffers that live at the same time.
    """
    offline = [index for index, request in enumerate(requests) if request.offline_offset >= 0]
    online = [index for index, request in enumerate(requests) if request.offline_offset < 0]
    online.sort(key=lambda index: (-requests[index].size_bytes, -index))
    place = _PlaceMany if len(requests) > _FEW else _PlaceFew
    placed = place(requests)
    for index in offline + online:
        request = requests[index]
        offset = request.offline_offset
        placed.put(index, placed.first_gap(request) if offset < 0 else offset)
    return placed.offsets


# From here on, arrays are quicker than a walk.
_FEW: Final = 256


class _PlaceFew:
    """Buffers placed so far, walked one by one in order of offset."""

    def __init__(self, requests: Sequence[PlanRequest]) -> None:
        self.offsets = [0] * len(requests)
        self._requests = requests
        self._placed: list[tuple[int, int, int]] = []

    def put(self, index: int, offset: int) -> None:
        """Place a request."""
        self.offsets[index] = offset
        # Equal offsets keep the order in which they were placed.
        insort(self._placed, (offset, len(self._placed), index))

    def first_gap(self, request: PlanRequest) -> int:
        """The lowest offset at which a request fits."""
        candidate = 0
        for offset, _, index in self._placed:
            other = self._requests[index]
            if other.first_used > request.last_used or request.first_used > other.last_used:
                continue
            if offset - candidate >= request.size_bytes:
                break
            candidate = max(candidate, offset + other.size_bytes)
        return candidate


class _PlaceMany:
    """The same with arrays."""

    def __init__(self, requests: Sequence[PlanRequest]) -> None:
        self.offsets = [0] * len(requests)
        self._starts: list[int] = []
        # Columns: offset, end, first use, last use; in order of offset.
        self._placed = np.zeros((4, len(requests)), dtype=np.int64)
        self._requests = requests

    def put(self, index: int, offset: int) -> None:
        """Place a request."""
        self.offsets[index] = offset
        column, count = bisect_right(self._starts, offset), len(self._starts)
        request = self._requests[index]
        self._placed[:, column + 1 : count + 1] = self._placed[:, column:count]
        self._placed[:, column] = (
            offset,
            offset + request.size_bytes,
            request.first_used,
            request.last_used,
        )
        self._starts.insert(column, offset)

    def first_gap(self, request: PlanRequest) -> int:
        """The lowest offset at which a request fits."""
        offsets, ends, first, last = self._placed[:, : len(self._starts)]
        alive = (first <= request.last_used) & (last >= request.first_used)
        offsets, ends = offsets[alive], ends[alive]
        reached = np.maximum.accumulate(np.concatenate([[0], ends]))
        fits = np.flatnonzero(offsets - reached[:-1] >= request.size_bytes)
        return int(reached[fits[0]] if fits.size else reached[-1])
