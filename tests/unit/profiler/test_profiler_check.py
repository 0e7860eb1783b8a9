"""The check on the real interpreter: what runs, what doesn't, what crashes."""

import pytest
from linnet_profiler.interpreter.check import check_on_interpreter
from truth_rows import model_bytes


@pytest.mark.parametrize(
    "name", ["first/dense00_i8", "first/conv2d11_f32", "second/bmm0_i8", "published/qc_sine"]
)
def test_the_real_interpreter_agrees_with_the_replay(name: str) -> None:
    """A good model loads, runs, and takes what the replay of its 64-bit build says."""
    found = check_on_interpreter(model_bytes(name))
    assert found.available
    assert found.loaded
    assert found.ran
    assert not found.crashed
    assert found.agrees, (found.arena_bytes, found.replayed_bytes)


def test_a_hung_interpreter_is_shown() -> None:
    """A child past its deadline is reported as crashed, with the reason."""
    found = check_on_interpreter(model_bytes("first/dense00_i8"), timeout_s=0.01)
    assert found.crashed
    assert "still running" in found.problem
    assert not found.agrees
