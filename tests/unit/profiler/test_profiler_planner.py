"""TFLM's greedy planner: what holds of any set of buffers."""

from hypothesis import given
from hypothesis import strategies as st
from linnet_profiler.memory import planner
from linnet_profiler.memory.planner import PlanRequest, greedy_offsets


@st.composite
def requests(draw: st.DrawFn) -> list[PlanRequest]:
    found = []
    for _ in range(draw(st.integers(0, 24))):
        first = draw(st.integers(0, 20))
        found.append(
            PlanRequest(
                size_bytes=16 * draw(st.integers(1, 200)),
                first_used=first,
                last_used=first + draw(st.integers(0, 8)),
            )
        )
    return found


@given(requests())
def test_buffers_in_use_at_once_lie_apart(wanted: list[PlanRequest]) -> None:
    """Two buffers whose lifetimes meet never share a byte."""
    offsets = greedy_offsets(wanted)
    for number, one in enumerate(wanted):
        for place in range(number + 1, len(wanted)):
            other = wanted[place]
            if one.last_used < other.first_used or other.last_used < one.first_used:
                continue
            before = offsets[number] + one.size_bytes <= offsets[place]
            after = offsets[place] + other.size_bytes <= offsets[number]
            assert before or after


@given(requests())
def test_offsets_keep_the_alignment(wanted: list[PlanRequest]) -> None:
    """Sizes in steps of 16 give offsets in steps of 16."""
    assert all(offset % 16 == 0 and offset >= 0 for offset in greedy_offsets(wanted))


@given(requests())
def test_many_buffers_are_placed_like_few(wanted: list[PlanRequest]) -> None:
    """The walk and the arrays find the same first gap for every buffer."""
    few, many = planner._PlaceFew(wanted), planner._PlaceMany(wanted)
    for index, request in enumerate(wanted):
        gap = few.first_gap(request)
        assert many.first_gap(request) == gap
        few.put(index, gap)
        many.put(index, gap)
    assert few.offsets == many.offsets


def test_offline_offsets_are_kept() -> None:
    """Offsets that the file fixes stay, and the others go around them."""
    wanted = [
        PlanRequest(64, 0, 3, offline_offset=32),
        PlanRequest(32, 0, 3),
        PlanRequest(64, 0, 3),
    ]
    assert greedy_offsets(wanted) == [32, 0, 96]


def test_equal_sizes_are_placed_last_first() -> None:
    """Of buffers of one size the last requested lies lowest, as in TFLM."""
    assert greedy_offsets([PlanRequest(16, 0, 0), PlanRequest(16, 0, 0)]) == [16, 0]
