"""Any file that may be read at all is answered in bounded time."""

import time
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from linnet_profiler.analysis import Analysis
from linnet_profiler.cost.copies import column_runs, first_tap_runs
from linnet_profiler.cost.depthwise import cmsis_depthwise
from linnet_profiler.errors import ModelError
from linnet_profiler.kernel_sets import KernelSet
from linnet_profiler.memory.planner import PlanRequest, greedy_offsets
from linnet_profiler.targets import targets
from linnet_profiler.tflite.control_flow import check_control_flow
from linnet_profiler.tflite.geometry import Axis, Steps, Window, floor_sum, pairs_inside
from linnet_profiler.tflite.model import Operator, Subgraph
from linnet_profiler.tflite.parser import MAX_PLACES, parse

from tests.support.hostile_models import HOSTILE, Written, operator, schema, written

# One board of each way to count: Armv6-M's C library, reference, vectors, another library.
BOARDS = ("raspberry-pi-pico", "nucleo-l4r5zi", "ek-ra8d1", "esp32-s3")
# Of the processor, for the longest file on those boards; a free core takes an eighth of it.
LIMIT_S = 30.0


@pytest.mark.parametrize("kind", sorted(HOSTILE))
def test_the_largest_files_are_answered_in_bounded_time(kind: str) -> None:
    """4,095 operators of huge windows, channels, chains or lifetimes take no minutes."""
    data = HOSTILE[kind]()
    started = time.process_time()
    analysis = Analysis.of(data)
    for board in BOARDS:
        found = analysis.profile(targets()[board])
        assert found.latency.instructions > 0
        assert found.ram.plan.arena_declare_bytes >= found.ram.plan.arena_used_bytes
    assert time.process_time() - started < LIMIT_S


sizes = st.integers(1, 9)


@st.composite
def axes(draw: st.DrawFn) -> Axis:
    """Small axes of any stride, dilation and padding."""
    return Axis(
        size=draw(st.integers(1, 14)),
        out=draw(st.integers(1, 14)),
        kernel=draw(sizes),
        stride=draw(st.integers(1, 4)),
        dilation=draw(st.integers(1, 4)),
        pad=draw(st.integers(0, 6)),
    )


def taps(axis: Axis) -> list[list[int]]:
    """Numbers of the taps inside the image at each output position, one by one."""
    return [
        [
            tap
            for tap in range(axis.kernel)
            if 0 <= place * axis.stride + tap * axis.dilation - axis.pad < axis.size
        ]
        for place in range(axis.out)
    ]


@given(st.integers(0, 40), st.integers(1, 30), st.integers(0, 60), st.integers(0, 60))
def test_a_sum_of_quotients_is_that_of_its_terms(n: int, m: int, a: int, b: int) -> None:
    """The closed form equals the loop."""
    assert floor_sum(n, m, a, b) == sum((a * i + b) // m for i in range(n))


@settings(max_examples=300)
@given(
    st.integers(-30, 30),
    st.builds(Steps, st.integers(1, 6), st.integers(-2, 9)),
    st.builds(Steps, st.integers(1, 6), st.integers(-2, 9)),
    st.integers(0, 30),
)
def test_pairs_are_counted_as_one_by_one(start: int, one: Steps, two: Steps, size: int) -> None:
    """Sums of two runs of steps that lie inside are counted exactly."""
    every = product(range(one.count), range(two.count))
    inside = sum(0 <= start + i * one.step + j * two.step < size for i, j in every)
    assert pairs_inside(start, one, two, size) == inside


@settings(max_examples=300)
@given(axes())
def test_taps_and_clean_positions_are_those_one_by_one(axis: Axis) -> None:
    """Taps inside the image and positions that lie in it whole are counted exactly."""
    found = taps(axis)
    assert axis.valid_taps() == sum(map(len, found))
    first, after = axis.clean_positions()
    whole = [place for place, inside in enumerate(found) if len(inside) == axis.kernel]
    assert list(range(first, after)) == whole


@settings(max_examples=300)
@given(axes(), axes(), sizes)
def test_copies_are_told_apart_as_one_by_one(high: Axis, wide: Axis, channels: int) -> None:
    """Runs that im2col and max pooling copy from and to a word are counted exactly."""
    window = Window(2, high, wide, channels, 1, channels, 1)
    rows, columns = taps(high), taps(wide)
    aligned = first = 0
    for y, x in product(range(high.out), range(wide.out)):
        column = (y * wide.out + x) % 2 * window.taps * channels
        for row, place in product(rows[y], columns[x]):
            from_y = y * high.stride - high.pad + row * high.dilation
            from_x = x * wide.stride - wide.pad + place * wide.dilation
            source = (from_y * wide.size + from_x) * channels
            target = column + (row * wide.kernel + place) * channels
            aligned += source % 4 == target % 4 == 0
        top = max(0, y * high.stride - high.pad)
        left = max(0, x * wide.stride - wide.pad)
        target = (y * wide.out + x) * channels
        first += (top * wide.size + left) * channels % 4 == target % 4 == 0
    assert column_runs(window).aligned == 2 * aligned
    assert first_tap_runs(window).aligned == 2 * first


@settings(max_examples=200)
@given(axes(), axes(), st.integers(2, 300))
def test_groups_of_four_are_told_apart_as_one_by_one(high: Axis, wide: Axis, channels: int) -> None:
    """MVE's groups of four output pixels without padding are counted exactly."""
    high, wide = (Axis(a.size, a.out, a.kernel, a.stride, 1, a.pad) for a in (high, wide))
    window = Window(1, high, wide, channels, channels, 1, 1)
    flags = [
        len(row) == high.kernel and len(column) == wide.kernel
        for row, column in product(taps(high), taps(wide))
    ]
    clean = sum(all(flags[at : at + 4]) for at in range(0, len(flags) // 4 * 4, 4))
    terms = cmsis_depthwise(window, KernelSet.CMSIS_MVE).terms
    starts = range(0, channels, 124)
    groups = sum(-(-min(124, channels - start) // 4) for start in starts)
    assert terms["clean_groups"] == clean * groups
    assert terms["slices"] == len(starts)


def test_many_uses_of_tensors_are_refused() -> None:
    """An operator that names tensors more often than any network is refused by its place."""
    shape = Written((1, 4))
    once = operator([0] * (MAX_PLACES + 1), [1], schema.ConcatenationOptionsT())
    with pytest.raises(ModelError, match=r"operator 0: inputs: a model may use tensors at most"):
        parse(written(["CONCATENATION"], [shape, shape], [once], [0]))


def test_more_tables_than_any_model_has_are_refused_unread() -> None:
    """A vector of a million buffers is refused by its length."""
    whole = written(["RELU"], [Written((1, 4))] * 2, [operator([0], [1])], [0])
    assert parse(whole).main.operators
    with pytest.raises(ModelError, match="at most 8192 tensors"):
        parse(written(["RELU"], [Written((1, 4))] * 9000, [operator([0], [1])], [0]))


def test_long_subgraphs_that_run_often_are_refused() -> None:
    """Operators of all runs together are bounded, not only the runs."""
    runs = Operator(0, "IF", "", 1, (), (), (), {"then_subgraph": 1, "else_subgraph": 1})
    caller = Subgraph(0, "", (), (), (), (runs,) * 100)
    long = Subgraph(1, "", (), (), (), (Operator(0, "RELU", "", 1, (), ()),) * 1000)
    with pytest.raises(ModelError, match="run 200100 operators in one another"):
        check_control_flow((caller, long))


@pytest.mark.parametrize("stride", [2**31 - 1, -(2**31)])
def test_buffers_beyond_any_arena_are_refused_by_operator(stride: int) -> None:
    """A stride that asks for more scratch than 32 bits count, or for less than none, is refused."""
    options = schema.TransposeConvOptionsT()
    options.strideH = options.strideW = stride
    tensors = [
        Written((1, 3, 3, 3), data=bytes(27)),
        Written((4,), schema.TensorType.INT32, bytes(16)),
        Written((1, 60, 60, 3)),
        Written((1, 60, 60, 1)),
    ]
    data = written(["TRANSPOSE_CONV"], tensors, [operator([1, 0, 2], [3], options)], [2])
    with pytest.raises(ModelError, match=r"operator 0 \(TRANSPOSE_CONV\): its buffers"):
        Analysis.of(data).profile(targets()["nucleo-l4r5zi"])


def test_more_work_than_any_device_would_finish_is_refused() -> None:
    """Layers whose products leave 64 bits are refused, so that no client meets an overflow."""
    options = schema.BatchMatMulOptionsT()
    tensors = [
        Written((1 << 20, 1 << 10)),
        Written((1 << 10, 1 << 10)),
        Written((1 << 20, 1 << 10)),
    ]
    operators = [operator([0, 1], [2], options) for _ in range(4095)]
    assert Analysis.of(written(["BATCH_MATMUL"], tensors, operators, [0, 1])).model
    huge = [Written((1 << 20, 1 << 10))] * 3
    many = [operator([0, 1], [2], schema.FullyConnectedOptionsT()) for _ in range(4095)]
    wide = [Written((1 << 11, 1 << 19)), Written((1, 1 << 30)), Written((1 << 11, 1 << 19))]
    assert Analysis.of(written(["FULLY_CONNECTED"], huge, many[:8], [0, 1])).model
    with pytest.raises(ModelError, match="multiply-accumulates, got"):
        Analysis.of(written(["FULLY_CONNECTED"], wide, many, [0, 1]))


@settings(max_examples=20, deadline=None)
@given(st.integers(257, 400), st.integers(0, 2**32 - 1))
def test_many_buffers_lie_where_few_would(count: int, seed: int) -> None:
    """Placing by arrays gives the offsets of placing one by one."""
    rng = np.random.default_rng(seed)
    first = rng.integers(0, 60, count)
    last = first + rng.integers(0, 12, count)
    size = 16 * rng.integers(0, 40, count)
    requests = [
        PlanRequest(int(s), int(f), int(e)) for s, f, e in zip(size, first, last, strict=True)
    ]
    placed: list[tuple[int, PlanRequest]] = []
    offsets = greedy_offsets(requests)
    order = sorted(range(count), key=lambda at: (-requests[at].size_bytes, -at))
    for at in order:
        one, offset = requests[at], 0
        for start, other in sorted(placed, key=lambda pair: pair[0]):
            if other.first_used > one.last_used or one.first_used > other.last_used:
                continue
            if start - offset >= one.size_bytes:
                break
            offset = max(offset, start + other.size_bytes)
        placed.append((offset, one))
        assert offsets[at] == offset
