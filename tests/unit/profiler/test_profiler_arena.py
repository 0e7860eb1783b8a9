"""The replay of TFLM's allocator against measured firmware: 277 models on seven builds."""

from collections import Counter

import pytest
from linnet_profiler.kernel_sets import KernelSet
from linnet_profiler.memory.abi import Abi
from linnet_profiler.memory.arena import ArenaPlan, replay
from linnet_profiler.memory.memory_plan import BufferKind
from truth_rows import kernel_set, model, table

SAFETY_BYTES = 16


def replayed(batch: str, row: dict[str, str]) -> ArenaPlan:
    kernels = kernel_set(row["core"], row["kernels"])
    return replay(model(f"{batch}/{row['model']}"), Abi.ARM32, kernels)


@pytest.mark.parametrize(("batch", "rows"), [("first", 777), ("second", 1008), ("published", 154)])
def test_arena_used_is_byte_exact_on_every_measured_build(batch: str, rows: int) -> None:
    """arena_used_bytes() of every model on every build is replayed to the byte."""
    checked = 0
    wrong = []
    for row in table(f"{batch}_arena"):
        found = replayed(batch, row).arena_used_bytes
        checked += 1
        if found != int(row["arena_used_bytes"]):
            wrong.append((row["model"], row["core"], row["kernels"], found))
    assert checked == rows
    assert wrong == []


@pytest.mark.parametrize("batch", ["first", "second", "published"])
def test_head_equals_what_the_recording_allocator_reports(batch: str) -> None:
    """The memory plan is as large as the firmware's own."""
    for row in table(f"{batch}_arena"):
        assert replayed(batch, row).head_bytes == int(row["recorded_head_bytes"]), row["model"]


def test_declared_arena_is_never_below_what_the_firmware_needs() -> None:
    """The arena to declare is the smallest that works, or one step of 16 above it, never below."""
    over = Counter(
        replayed(batch, row).arena_declare_bytes - int(row["arena_min_bytes"])
        for batch in ("first", "second", "published")
        for row in table(f"{batch}_arena")
        if row["arena_min_bytes"]
    )
    assert sum(over.values()) == 510
    assert set(over) <= {0, SAFETY_BYTES}
    assert over[0] >= 496


def test_buffers_that_live_together_never_overlap() -> None:
    """No two buffers of a plan share bytes while both are in use."""
    plan = replay(model("first/mbv2_010_64_i8_dyn"), Abi.ARM32, KernelSet.CMSIS_DSP)
    for number, one in enumerate(plan.buffers):
        for other in plan.buffers[number + 1 :]:
            apart_in_time = one.last_used < other.first_used or other.last_used < one.first_used
            apart_in_space = (
                one.offset_bytes + one.size_bytes <= other.offset_bytes
                or other.offset_bytes + other.size_bytes <= one.offset_bytes
            )
            assert apart_in_time or apart_in_space


def test_the_plan_names_inputs_outputs_and_scratch() -> None:
    """A plan can be drawn: each buffer has a kind, an offset and a lifetime."""
    plan = replay(model("first/conv2d02_i8"), Abi.ARM32, KernelSet.CMSIS_DSP)
    kinds = Counter(buffer.kind for buffer in plan.buffers)
    assert kinds[BufferKind.INPUT] == 1
    assert kinds[BufferKind.OUTPUT] == 1
    assert kinds[BufferKind.SCRATCH] >= 1
    assert all(buffer.first_used <= buffer.last_used for buffer in plan.buffers)


def test_int_enums_take_more_than_short_enums() -> None:
    """Xtensa and RISC-V lay structs out wider than Arm."""
    graph = model("first/dense00_i8")
    arm = replay(graph, Abi.ARM32, KernelSet.REFERENCE).arena_used_bytes
    esp = replay(graph, Abi.INT_ENUM32, KernelSet.REFERENCE).arena_used_bytes
    wide = replay(graph, Abi.X86_64, KernelSet.REFERENCE).arena_used_bytes
    assert arm < esp < wide


def test_esp_s3_kernels_ask_for_more_scratch_than_generic_ones() -> None:
    """ESP32-S3's vector kernels copy filter and input, the generic ones nothing."""
    graph = model("first/conv2d02_i8")
    generic = replay(graph, Abi.INT_ENUM32, KernelSet.ESP_GENERIC)
    vector = replay(graph, Abi.INT_ENUM32, KernelSet.ESP_S3)
    assert vector.scratch_bytes > generic.scratch_bytes
