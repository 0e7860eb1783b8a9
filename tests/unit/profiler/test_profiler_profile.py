"""A whole profile: verdict over all boards, operators, what it suggests, what it can't run."""

import pytest
from linnet_profiler import Budgets, find_target, profile, profile_all, smallest_that_fits
from linnet_profiler.basis import Basis
from linnet_profiler.support import unsupported_operators
from linnet_profiler.tflite.model import Model, Operator, Subgraph, Tensor
from truth_rows import model_bytes

INT8 = model_bytes("first/conv2d11_i8")
FLOAT = model_bytes("first/conv2d11_f32")
BOARD = "nucleo-l4r5zi"


def test_operators_add_up_to_the_whole() -> None:
    """Shares add up to less than all, instructions to all; each operator has a basis."""
    found = profile(INT8, BOARD)
    assert sum(op.share for op in found.operators) <= 1 + 1e-9
    assert sum(op.instructions for op in found.operators) == pytest.approx(
        found.latency.instructions
    )
    assert all(op.basis in Basis for op in found.operators)
    assert found.macs == sum(op.macs for op in found.operators) > 0
    assert found.latency.low < found.latency.milliseconds < found.latency.high


def test_ram_is_the_arena_and_what_stands_beside_it() -> None:
    """The total is the arena to declare, interpreter, resolver, statics and stack."""
    ram = profile(INT8, BOARD).ram
    beside = ram.interpreter_bytes + ram.resolver_bytes + ram.statics_bytes + ram.stack_bytes
    assert ram.total_bytes == ram.plan.arena_declare_bytes + beside
    assert ram.plan.arena_used_bytes <= ram.plan.arena_declare_bytes


def test_float32_needs_more_than_int8() -> None:
    """The same network takes more RAM, flash for the model, and time as float32."""
    small, large = profile(INT8, BOARD), profile(FLOAT, BOARD)
    assert (small.precision, large.precision) == ("int8", "float32")
    assert large.ram.total_bytes > small.ram.total_bytes
    assert large.flash.model_bytes > small.flash.model_bytes
    assert large.latency.milliseconds > small.latency.milliseconds


def test_one_call_judges_every_board() -> None:
    """The smallest board that fits has no smaller fitting one."""
    found = profile_all(INT8)
    smallest = smallest_that_fits(found)
    assert smallest is not None
    assert smallest.verdict.fits
    fitting = [one.target.ram_bytes for one in found if one.verdict.fits]
    assert smallest.target.ram_bytes == min(fitting)
    for one in found:
        room = one.target.ram_bytes - one.ram.total_bytes
        assert one.verdict.ram_headroom_bytes == room
        assert one.verdict.ram == (room >= 0)


@pytest.mark.parametrize(
    ("budgets", "part"),
    [
        (Budgets(ram_bytes=100), "RAM"),
        (Budgets(flash_bytes=100), "Flash"),
        (Budgets(latency_ms=1e-6), "Latency"),
    ],
)
def test_a_budget_that_is_missed_is_named(budgets: Budgets, part: str) -> None:
    """Each budget is held on its own and its shortfall said."""
    verdict = profile(INT8, BOARD, budgets=budgets).verdict
    assert not verdict.fits
    assert [reason.split(":")[0] for reason in verdict.reasons] == [part]


def test_nothing_fits_an_impossible_budget() -> None:
    """Without a fitting board there is no smallest."""
    assert smallest_that_fits(profile_all(INT8, budgets=Budgets(ram_bytes=1))) is None


def test_reference_kernels_take_longer() -> None:
    """The optimised library takes fewer instructions than the reference kernels."""
    quick = profile(INT8, BOARD)
    slow = profile(INT8, BOARD, kernels="reference")
    assert slow.latency.instructions > 2 * quick.latency.instructions
    assert slow.ram.plan.arena_used_bytes != quick.ram.plan.arena_used_bytes


def test_suggestions_say_what_they_save() -> None:
    """A float model is told to be quantized, with what it saves."""
    texts = [entry for entry in profile(FLOAT, BOARD).suggestions if "int8" in entry.text]
    assert texts
    assert texts[0].saved_us > 0


def test_operators_that_tflite_micro_lacks_are_named_with_a_remedy() -> None:
    """An operator without a kernel is named by node, with the nearest remedy."""
    tensor = Tensor(0, "", (1, 4), "FLOAT32", 32, None, (), (), 0, is_variable=False)
    lacking = Operator(0, "GELU", "", 1, (0,), (0,))
    graph = Subgraph(0, "", (tensor,), (0,), (0,), (lacking,))
    found = unsupported_operators(Model(0, "", (graph,), None))
    assert [(entry.operator, entry.name) for entry in found] == [(0, "GELU")]
    assert found[0].remedy


def test_a_clock_changes_time_only() -> None:
    """Half the clock is twice the time; memory stays."""
    whole = profile(INT8, BOARD)
    half = profile(INT8, BOARD, clock_hz=find_target(BOARD).clock_hz // 2)
    assert half.latency.cycles <= whole.latency.cycles * 1.01
    assert half.latency.milliseconds > whole.latency.milliseconds
    assert half.ram == whole.ram
