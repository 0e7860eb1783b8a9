"""Time on boards, for models that the calibration never saw, against published timings."""

import json
from dataclasses import replace
from functools import cache

import fit_boards
import numpy as np
import pytest
from fit_boards import Timed
from linnet_profiler import bare_core, find_target, profile
from linnet_profiler.basis import Basis
from truth_rows import model_bytes


@cache
def rows() -> list[tuple[Timed, float]]:
    """Every timing and predicted over measured, its model left out."""
    timed = fit_boards.timed_rows()
    return list(zip(timed, fit_boards.held_out(timed), strict=True))


def errors(chosen: list[tuple[Timed, float]]) -> list[float]:
    """Errors in percent."""
    return [abs(ratio - 1) * 100 for _, ratio in chosen]


def test_int8_with_cmsis_nn_is_predicted() -> None:
    """Median error 15 %, two thirds within 30 %, the 90 % band holds 88 % at a factor of 1.7."""
    chosen = [(row, ratio) for row, ratio in rows() if fit_boards.counted(row)]
    assert len(chosen) >= 26
    calibration = json.loads(fit_boards.OUTPUT.read_text())["boards"]
    shipped = [calibration[row.target.id][row.kind]["band"] for row, _ in chosen]
    timed = [row for row, _ in rows()]
    left_out = [
        band
        for row, band in zip(timed, fit_boards.left_out_bands(timed), strict=True)
        if fit_boards.counted(row)
    ]
    found = np.array(errors(chosen))
    assert np.median(found) <= 15
    assert np.mean(found <= 30) >= 0.67
    # The bands that users get, and those that never saw the row's model.
    for bands in (shipped, left_out):
        held = [1 / band <= ratio <= band for (_, ratio), band in zip(chosen, bands, strict=True)]
        assert np.mean(held) >= 0.88
        assert np.mean(bands) <= 1.7


def test_a_band_that_never_saw_a_model_hangs_on_none_of_its_rows() -> None:
    """However far off one model's own timings are, the band left for it stays the same."""
    timed = [row for row, _ in rows()]
    name = next(row.model for row in timed if fit_boards.counted(row))
    wild = [replace(row, cycles=9 * row.cycles) if row.model == name else row for row in timed]
    before, after = fit_boards.left_out_bands(timed), fit_boards.left_out_bands(wild)
    pairs = [
        (old, new) for row, old, new in zip(timed, before, after, strict=True) if row.model == name
    ]
    assert pairs
    assert all(old == new for old, new in pairs)
    assert before != after


def test_sure_rows_of_m4f_and_m33_are_predicted() -> None:
    """Rows of confidence A on Cortex-M4F and M33: median 8 %, none above 25 %."""
    chosen = [
        (row, ratio)
        for row, ratio in rows()
        if fit_boards.counted(row)
        and row.confidence == "A"
        and row.target.core.id in ("cortex-m4f", "cortex-m33")
    ]
    assert len(chosen) >= 8
    assert np.median(errors(chosen)) <= 8
    assert max(errors(chosen)) <= 25


def test_float_dense_models_are_predicted() -> None:
    """Float dense rows: median 5 %, nine in ten within 20 %."""
    chosen = [(row, ratio) for row, ratio in rows() if row.kind == "float32" and row.dense]
    assert len(chosen) >= 90
    assert np.median(errors(chosen)) <= 5
    assert np.percentile(errors(chosen), 90) <= 20


def test_the_shipped_calibration_is_that_of_the_fit() -> None:
    """What a fit of the timings in the repository gives is what the package carries."""
    shipped = json.loads(fit_boards.OUTPUT.read_text())["boards"]
    timed = [row for row, _ in rows()]
    for target_id, kinds in shipped.items():
        for kind, entry in kinds.items():
            fitted, _ = fit_boards.parameters(timed, find_target(target_id), kind)
            assert entry["cycles_per_instruction"] == pytest.approx(fitted[0], rel=1e-3)


@pytest.mark.parametrize("target_id", ["nucleo-f401re", "nucleo-g0b1re", "frdm-k64f"])
def test_boards_without_timings_are_estimated(target_id: str) -> None:
    """A board that nobody timed says so, with a band of at least a factor of 2."""
    latency = profile(model_bytes("first/conv2d11_i8"), target_id).latency
    assert latency.basis is Basis.ESTIMATED
    assert latency.high >= 2 * latency.milliseconds >= 3.99 * latency.low


def test_a_bare_core_counts_at_one_megahertz() -> None:
    """A bare core's milliseconds are thousands of cycles unless a clock is given."""
    data = model_bytes("first/conv2d11_i8")
    slow = profile(data, bare_core("cortex-m4f"))
    fast = profile(data, bare_core("cortex-m4f", clock_hz=100_000_000))
    assert slow.latency.milliseconds == pytest.approx(slow.latency.cycles / 1000)
    assert fast.latency.milliseconds == pytest.approx(slow.latency.milliseconds / 100)
