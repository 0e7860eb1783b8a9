"""Code size against the measured release builds."""

import json

import fit_code_size
import numpy as np
import pytest
from linnet_profiler.basis import Basis
from linnet_profiler.kernel_sets import KernelSet
from linnet_profiler.program.flash import flash_of
from linnet_profiler.targets import find_core

TABLES = dict(sorted(fit_code_size.read_rows().items()))


@pytest.mark.parametrize("build", TABLES)
def test_measured_builds_are_met(build: str) -> None:
    """The shipped sizes give every measured release build within 2.5 %."""
    rows = TABLES[build]
    shipped = json.loads(fit_code_size.OUTPUT.read_text())[build]
    names = fit_code_size.part_names(rows)
    sizes = np.array([float(shipped.get(name, 0)) for name in names])
    assert max(fit_code_size.inside_errors(names, rows, sizes)) <= 2.5


@pytest.mark.parametrize("build", TABLES)
def test_builds_left_out_are_predicted(build: str) -> None:
    """Leave-one-out, every build with several operators is met within 5 %."""
    rows = TABLES[build]
    names = fit_code_size.part_names(rows)
    guess = fit_code_size.guess_from(names, build, fit_code_size.first_guesses(TABLES))
    for error, operators in fit_code_size.left_out_errors(names, rows, guess):
        assert error <= 5.0, operators


def test_shares_add_up_and_int8_registrations_are_smaller() -> None:
    """Parts add up to the code; INT8-only registrations need less of it."""
    counts = find_core("cortex-m4f").counts[KernelSet.CMSIS_DSP]
    kinds = ("CONV_2D", "FULLY_CONNECTED", "MAX_POOL_2D", "SOFTMAX")
    flash = flash_of(10_001, kinds, counts, int8_model=True)
    assert sum(part.size_bytes for part in flash.parts) == flash.code_bytes
    assert flash.int8_code_bytes < flash.code_bytes
    assert flash.total_bytes == flash.code_bytes + 10_016
    assert flash.basis is Basis.CALIBRATED


def test_operators_that_no_build_measured_are_estimated() -> None:
    """An unmeasured operator makes the figure estimated, with 15 % to each side."""
    counts = find_core("cortex-m4f").counts[KernelSet.CMSIS_DSP]
    flash = flash_of(0, ("CONV_2D", "BATCH_TO_SPACE_ND"), counts, int8_model=True)
    known = flash_of(0, ("CONV_2D",), counts, int8_model=True)
    assert known.basis is Basis.CALIBRATED
    assert flash.basis is Basis.ESTIMATED
    assert flash.high_bytes == round(flash.code_bytes * 1.15)
    assert flash.code_bytes > known.code_bytes
