"""The check on the real interpreter: what runs, what doesn't, what crashes."""

import pytest
from linnet_profiler.interpreter.check import check_on_interpreter
from truth_rows import model_bytes

from tests.support.changed_models import with_dead_softmax, with_gelu


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


def test_a_model_that_ends_the_interpreter_is_shown() -> None:
    """An abort in the interpreter is reported with its code, not hidden and not ours."""
    found = check_on_interpreter(with_dead_softmax(model_bytes("first/dense00_i8")))
    assert found.crashed
    assert "ended with code -6" in found.problem
    assert not found.ran


def test_a_model_that_is_refused_is_shown_with_the_reason() -> None:
    """An operator that TFLite Micro lacks is named by its own message."""
    found = check_on_interpreter(with_gelu(model_bytes("first/dense00_i8")))
    assert not found.loaded
    assert not found.crashed
    assert "GELU" in found.problem
