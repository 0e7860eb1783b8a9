"""GreedyMemoryPlanner of TFLM: where each buffer of the plan lies.

Source: tensorflow/lite/micro/memory_planner/greedy_memory_planner.cc.
"""

from __future__ import annotations

from bisect import insort
from collections.abc import Sequence
from dataclasses import dataclass


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
    offsets = [0] * len(requests)
    placed: list[tuple[int, int, int]] = []
    for order, index in enumerate(offline + online):
        request = requests[index]
        offset = request.offline_offset
        if offset < 0:
            offset = _first_gap(request, requests, placed)
        offsets[index] = offset
        # Equal offsets keep the order in which they were placed.
        insort(placed, (offset, order, index))
    return offsets


def _first_gap(
    request: PlanRequest,
    requests: Sequence[PlanRequest],
    placed: list[tuple[int, int, int]],
) -> int:
    candidate = 0
    for offset, _, index in placed:
        other = requests[index]
        if other.first_used > request.last_used or request.first_used > other.last_used:
            continue
        if offset - candidate >= request.size_bytes:
            break
        candidate = max(candidate, offset + other.size_bytes)
    return candidate
