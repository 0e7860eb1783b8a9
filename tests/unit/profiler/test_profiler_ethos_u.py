"""Ethos-U through Arm's compiler, where that is installed."""

from importlib.util import find_spec

import pytest
from linnet_profiler.ethos_u import offload
from linnet_runtime.errors import InvalidInput
from truth_rows import model_bytes

INSTALLED = find_spec("ethosu") is not None
MODEL = model_bytes("published/kws_ref_model")


def test_an_unknown_accelerator_is_refused() -> None:
    """The accelerators that exist are named."""
    with pytest.raises(InvalidInput, match="ethos-u55-128") as caught:
        offload(MODEL, "ethos-u1")
    assert caught.value.reason == "UNKNOWN_ACCELERATOR"


def test_a_file_that_is_no_model_never_reaches_the_compiler() -> None:
    """Damaged files are refused by our own reader."""
    with pytest.raises(InvalidInput) as caught:
        offload(b"no model", "ethos-u55-128")
    assert caught.value.reason == "MODEL_INVALID"


@pytest.mark.skipif(INSTALLED, reason="the extra ethos-u is installed")
def test_without_the_extra_it_is_named() -> None:
    """Who lacks the compiler is told which extra brings it."""
    with pytest.raises(InvalidInput, match="extra: ethos-u") as caught:
        offload(MODEL, "ethos-u55-128")
    assert caught.value.reason == "VELA_MISSING"


@pytest.mark.skipif(not INSTALLED, reason="needs the extra ethos-u")
def test_a_larger_accelerator_takes_fewer_cycles() -> None:
    """An int8 model runs on the accelerator as a whole, faster on a larger one."""
    small, large = offload(MODEL, "ethos-u55-32"), offload(MODEL, "ethos-u55-256")
    assert small.npu_operators > 0
    assert small.cpu_operators == 0
    assert large.cycles < small.cycles
    assert small.sram_bytes > 0


@pytest.mark.skipif(not INSTALLED, reason="needs the extra ethos-u")
def test_float_models_stay_on_the_core() -> None:
    """The accelerator runs nothing of a float model."""
    assert offload(model_bytes("first/dense00_f32"), "ethos-u55-128").npu_operators == 0
