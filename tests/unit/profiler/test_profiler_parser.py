"""Reading .tflite files: right ones exactly, wrong ones refused in bounded time and memory."""

import struct
import time
import tracemalloc

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from linnet_profiler.analysis import Analysis
from linnet_profiler.errors import ModelError
from linnet_profiler.targets import bare_core, find_target
from linnet_profiler.tflite.control_flow import check_control_flow
from linnet_profiler.tflite.model import Model, Operator, Subgraph, Tensor
from linnet_profiler.tflite.parser import parse
from truth_rows import model_bytes, table

MODEL = model_bytes("first/conv2d11_i8")
TIME_LIMIT_S = 2.0
TARGETS = (bare_core("cortex-m0plus"), bare_core("cortex-m55"), find_target("esp32-s3"))
MEMORY_LIMIT_BYTES = 64 * 1024 * 1024


def survives(data: bytes) -> bool:
    """True where a file is profiled, False where our own error names what is wrong."""
    try:
        analysis = Analysis.of(data)
    except ModelError as error:
        return not (error.reason == "MODEL_INVALID" and error.message)
    for target in TARGETS:
        analysis.profile(target)
    return True


def test_shapes_types_and_options_are_read() -> None:
    """A convolution's shapes, types, stride and activation are those of the file."""
    graph = parse(MODEL).main
    row = next(
        row
        for row in table("first_operators")
        if row["model"] == "conv2d11_i8" and row["index"] == "0"
    )
    operator = graph.operators[0]
    assert operator.name == row["operator"] == "CONV_2D"
    image, output = graph.input(operator, 0), graph.output(operator)
    assert image is not None
    assert output is not None
    assert "x".join(map(str, image.shape)) == row["input_shape"]
    assert "x".join(map(str, output.shape)) == row["output_shape"]
    assert image.dtype == row["dtype"]
    assert operator.number("stride_h") == int(row["stride_h"])
    assert operator.options["padding"] == row["padding"]


@pytest.mark.parametrize("length", [0, 1, 7, 8, 100, len(MODEL) // 2, len(MODEL) - 1])
def test_truncated_files_are_refused_or_read(length: int) -> None:
    """A cut file never ends in anything but our error."""
    survives(MODEL[:length])


@pytest.mark.parametrize(
    "data", [b"", b"\0" * 64, b"not a model at all", b"\x1c\0\0\0TFL2" + MODEL[8:]]
)
def test_other_files_are_refused(data: bytes) -> None:
    """What isn't TFLite is refused by name."""
    with pytest.raises(ModelError, match="TFL3"):
        parse(data)


@settings(max_examples=400, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, len(MODEL) - 1), st.integers(0, 7)), min_size=1, max_size=24)
)
def test_bit_flips_end_in_our_error_or_a_plan(flips: list[tuple[int, int]]) -> None:
    """Flipped bits never crash, hang or leak another exception."""
    data = bytearray(MODEL)
    for place, bit in flips:
        data[place] ^= 1 << bit
    started = time.perf_counter()
    survives(bytes(data))
    assert time.perf_counter() - started < TIME_LIMIT_S


@settings(max_examples=300, deadline=None)
@given(
    st.integers(0, len(MODEL) // 4 - 1),
    st.sampled_from([0, 1, 4, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 0xFFFFFFFC, 2**31 - 4, 1 << 20]),
)
def test_wild_words_end_in_our_error_or_a_plan(word: int, value: int) -> None:
    """Any 32-bit word set to a wild offset, count or dimension is survived, quickly and small."""
    data = bytearray(MODEL)
    struct.pack_into("<I", data, 4 * word, value)
    tracemalloc.start()
    try:
        started = time.perf_counter()
        survives(bytes(data))
        assert time.perf_counter() - started < TIME_LIMIT_S
        assert tracemalloc.get_traced_memory()[1] < MEMORY_LIMIT_BYTES
    finally:
        tracemalloc.stop()


def test_overlapping_vectors_are_refused() -> None:
    """Thousands of tables in the same bytes are refused instead of read over and over."""
    count = 60_000
    vector = struct.pack("<I", count) + struct.pack("<I", 8) * count
    root = struct.pack("<I", 16) + b"TFL3" + b"\0" * 8
    table_start = struct.pack("<i", 12) + b"\0" * 0
    assert not survives(root + table_start + vector)


def test_dimensions_beyond_any_target_are_refused() -> None:
    """A tensor of 2^31 bytes is refused by name."""
    data = bytearray(MODEL)
    graph = parse(MODEL).main
    shape = struct.pack(f"<I{len(graph.tensors[0].shape)}i", 4, *graph.tensors[0].shape)
    place = bytes(data).index(shape)
    struct.pack_into("<i", data, place + 8, 2**31 - 1)
    with pytest.raises(ModelError, match="bytes, at most"):
        parse(bytes(data))


def _graph(
    index: int, operators: tuple[Operator, ...], shape: tuple[int, ...] = (1, 4)
) -> Subgraph:
    tensors = tuple(
        Tensor(number, "", shape, "INT8", 8, None, (1.0,), (0,), 0, is_variable=False)
        for number in range(2)
    )
    return Subgraph(index, "", tensors, (0,), (1,), operators)


def _runs(first: int, second: int) -> Operator:
    options = {"then_subgraph": first, "else_subgraph": second}
    return Operator(0, "IF", "", 1, (0,), (1,), (), options)


def test_subgraphs_that_run_themselves_are_refused() -> None:
    """A cycle of subgraphs would be planned without end."""
    graphs = (_graph(0, (_runs(1, 1),)), _graph(1, (_runs(0, 0),)))
    with pytest.raises(ModelError, match="calls itself"):
        check_control_flow(graphs)


def test_subgraphs_that_double_again_and_again_are_refused() -> None:
    """Sixty levels that each run the next twice would be planned 2^60 times."""
    levels = 60
    graphs = tuple(_graph(level, (_runs(level + 1, level + 1),)) for level in range(levels))
    with pytest.raises(ModelError, match="at most"):
        check_control_flow((*graphs, _graph(levels, ())))


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("MAX_POOL_2D", {"window_h": 2**31 - 1, "window_w": 2**31 - 1}),
        ("AVERAGE_POOL_2D", {"window_h": 0, "window_w": 0, "stride_h": -5, "stride_w": 0}),
        ("MAX_POOL_2D", {"window_h": 60_000, "window_w": 60_000, "padding": "same"}),
        ("DEPTHWISE_CONV_2D", {"padding": "same"}),
        ("TRANSPOSE", {}),
        ("MEAN", {}),
    ],
)
@pytest.mark.parametrize("shape", [(1, 2**30, 1, 1), (1, 1, 65_000, 3), (0, 0, 0, 0), (1, 9, 9, 3)])
def test_shapes_beyond_reason_take_no_time(
    name: str, options: dict[str, int | str], shape: tuple[int, ...]
) -> None:
    """Windows and images of any size are costed in bounded time, and never below nothing."""
    graph = _graph(0, (Operator(0, name, "", 1, (0, 0), (1,), (), options),), shape)
    started = time.process_time()
    for core, kernels in (("cortex-m4f", "cmsis-nn"), ("cortex-m55", "cmsis-nn")):
        found = Analysis(Model(1000, "", (graph,), None)).profile(bare_core(core, kernels))
        assert found.latency.instructions > 0
        assert found.ram.total_bytes > 0
    assert time.process_time() - started < 4 * TIME_LIMIT_S
