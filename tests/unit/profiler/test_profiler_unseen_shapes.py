"""Shapes, strides and clocks that no measurement saw: figures stay finite and in proportion."""

from dataclasses import dataclass, replace
from math import isfinite, prod

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from linnet_profiler.analysis import Analysis
from linnet_profiler.cost.instructions import count_instructions
from linnet_profiler.cost.operators import macs_of, valid_macs_of
from linnet_profiler.profile import Latency
from linnet_profiler.targets import Counts, Memory, Target, cores, custom_target, targets
from linnet_profiler.tflite.model import Model, Operator, Subgraph, Tensor

CORES = sorted(cores())
DISPATCH = 40
# The dearest multiply-accumulate of any build: soft float, or one tap a requantized output.
DEAREST_PER_MAC = 700.0


@dataclass(frozen=True)
class Layer:
    """A convolution, depthwise convolution, pool or dense layer."""

    kind: str
    dtype: str
    height: int
    width: int
    depth: int
    units: int
    kernel: tuple[int, int]
    stride: int
    dilation: int
    same: bool
    multiplier: int

    def shapes(self) -> list[tuple[int, ...]]:
        """Input, weights and output, or input and output of a pool."""
        image = (1, self.height, self.width, self.depth)
        if self.kind == "FULLY_CONNECTED":
            return [(1, prod(image)), (self.units, prod(image)), (1, self.units)]
        high, wide = (
            -(-size // self.stride)
            if self.same
            else (size - (kernel - 1) * self.dilation - 1) // self.stride + 1
            for size, kernel in zip(image[1:3], self.kernel, strict=True)
        )
        if self.kind == "CONV_2D":
            weights = (self.units, *self.kernel, self.depth)
            return [image, weights, (1, high, wide, self.units)]
        if self.kind == "DEPTHWISE_CONV_2D":
            channels = self.depth * self.multiplier
            return [image, (1, *self.kernel, channels), (1, high, wide, channels)]
        return [image, (1, high, wide, self.depth)]

    def fits(self) -> bool:
        """Whether the output has pixels."""
        return min(self.shapes()[-1]) > 0

    def graph(self) -> Subgraph:
        """A subgraph of this one operator."""
        shapes = self.shapes()
        tensors = tuple(
            Tensor(
                index=place,
                name="",
                shape=shape,
                dtype=self.dtype,
                element_bits=8 if self.dtype == "INT8" else 32,
                data=memoryview(b"") if 0 < place < len(shapes) - 1 else None,
                scales=(0.1,) if self.dtype == "INT8" else (),
                zero_points=(0,) if self.dtype == "INT8" else (),
                quantized_dimension=0,
                is_variable=False,
            )
            for place, shape in enumerate(shapes)
        )
        last = len(shapes) - 1
        options = {
            "padding": "same" if self.same else "valid",
            "stride_h": self.stride,
            "stride_w": self.stride,
            "dilation_h": self.dilation,
            "dilation_w": self.dilation,
            "window_h": self.kernel[0],
            "window_w": self.kernel[1],
            "depth_multiplier": self.multiplier,
            "activation": "none",
        }
        operator = Operator(0, self.kind, "", 1, tuple(range(last)), (last,), (), options)
        return Subgraph(0, "", tensors, (0,), (last,), (operator,))


def layers(*, fours: bool = False) -> st.SearchStrategy[Layer]:
    """Any layer; in `fours` every size is one that no kernel has leftovers of."""
    size = st.integers(1, 24).map(lambda n: 4 * n) if fours else st.integers(1, 97)
    depth = st.integers(1, 32).map(lambda n: 16 * n) if fours else st.integers(1, 600)
    windowed = st.builds(
        Layer,
        kind=st.sampled_from(["CONV_2D", "DEPTHWISE_CONV_2D", "MAX_POOL_2D", "AVERAGE_POOL_2D"]),
        dtype=st.sampled_from(["INT8", "FLOAT32"]),
        height=size,
        width=size,
        depth=depth,
        units=depth,
        kernel=st.tuples(st.integers(1, 11), st.integers(1, 11)),
        stride=st.integers(1, 4),
        dilation=st.just(1) if fours else st.integers(1, 3),
        same=st.booleans(),
        multiplier=st.just(1) if fours else st.sampled_from([1, 1, 2, 3, 4, 8]),
    )
    dense = windowed.map(lambda layer: replace(layer, kind="FULLY_CONNECTED"))
    return st.one_of(windowed, dense).filter(Layer.fits)


def builds() -> dict[str, Counts]:
    """One set of counts for every measured build."""
    return {count.build: count for core in cores().values() for count in core.counts.values()}


def instructions(layer: Layer, counts: Counts) -> float:
    """Instructions of a layer on a build."""
    graph = layer.graph()
    return count_instructions(graph, graph.operators[0], counts).instructions / counts.factor


def latency(layer: Layer, board: Target) -> Latency:
    """Time of a model of this one layer."""
    return Analysis(Model(1000, "", (layer.graph(),), None)).profile(board).latency


@settings(max_examples=150, deadline=None)
@given(layer=layers())
def test_no_shape_costs_nothing_or_beyond_all_measure(layer: Layer) -> None:
    """Counts are finite, at least a dispatch, and no multiply-accumulate dearer than any seen."""
    graph = layer.graph()
    operator = graph.operators[0]
    assert 0 <= valid_macs_of(graph, operator) <= macs_of(graph, operator)
    outputs = prod(layer.shapes()[-1]) * prod(layer.kernel)
    most = DEAREST_PER_MAC * (max(macs_of(graph, operator), outputs) + 100)
    for build, counts in builds().items():
        count = instructions(layer, counts)
        assert isfinite(count), build
        assert DISPATCH <= count <= most, (build, count, most)


@settings(max_examples=100, deadline=None)
@given(layer=layers(fours=True), what=st.sampled_from(["height", "width", "depth", "units"]))
def test_twice_the_work_is_never_cheaper(layer: Layer, what: str) -> None:
    """Twice the rows, columns, channels or units take longer, and not much more than twice.

    Two patches go through CMSIS-NN's kernel as one pair, which a small core does in the time of
    a single one: 98 % leaves room for that.
    """
    more = replace(layer, **{what: 2 * getattr(layer, what)})
    assume(more.shapes()[0] != layer.shapes()[0] or more.shapes()[-1] != layer.shapes()[-1])
    for build, counts in builds().items():
        once, twice = instructions(layer, counts), instructions(more, counts)
        assert twice >= 0.98 * once, build
        # Rows of an image come whole into the window only where it is high enough.
        if layer.kind == "FULLY_CONNECTED":
            assert twice <= 2.1 * once, build


@pytest.mark.parametrize("core", CORES)
@pytest.mark.parametrize("clock_hz", [1, 32_768, 10_000_000_000])
def test_odd_clocks_scale_the_time_and_its_band(core: str, clock_hz: int) -> None:
    """Cycles don't hang on the clock; milliseconds are theirs, with a band around them."""
    layer = Layer("CONV_2D", "INT8", 9, 7, 5, 6, (3, 2), 2, 1, True, 1)
    board = custom_target(core_id=core, clock_hz=clock_hz, ram_bytes=1 << 16, flash_bytes=1 << 20)
    found = latency(layer, board)
    usual = latency(layer, board.with_clock(80_000_000))
    assert found.cycles == pytest.approx(usual.cycles, rel=1e-6)
    assert found.milliseconds == pytest.approx(found.cycles / clock_hz * 1e3, rel=1e-6)
    assert 0 < found.low <= found.milliseconds / 2
    assert found.high >= found.milliseconds * 2


@pytest.mark.parametrize("core", CORES)
def test_tightly_coupled_memory_is_never_slower_than_flash(core: str) -> None:
    """Where code and data are beside the core, it waits for neither."""
    layer = Layer("FULLY_CONNECTED", "INT8", 8, 8, 4, 32, (1, 1), 1, 1, True, 1)
    board = custom_target(core_id=core, clock_hz=80_000_000, ram_bytes=1 << 16, flash_bytes=1 << 20)
    coupled = replace(board, memory=Memory(code="itcm", cache="tcm", data="dtcm"))
    plain = replace(board, memory=Memory(code="flash", cache="none", data="sram"))
    assert latency(layer, coupled).cycles <= latency(layer, plain).cycles


def test_every_board_has_a_sensible_band() -> None:
    """The middle lies inside each band, which is between 10 % and a factor of 5 on each side."""
    layer = Layer("CONV_2D", "INT8", 17, 11, 3, 12, (3, 3), 1, 1, True, 1)
    for name, board in targets().items():
        found = latency(layer, board)
        assert found.milliseconds > 0, name
        assert 1.1 <= found.milliseconds / found.low <= 5, name
        assert 1.1 <= found.high / found.milliseconds <= 5, name
