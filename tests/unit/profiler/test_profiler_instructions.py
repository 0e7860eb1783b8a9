"""Instructions of models that the coefficients never saw, against measured builds."""

import json
from collections import defaultdict
from functools import cache

import fit_instructions
import numpy as np
import pytest
from truth_rows import CountedOperator, counted_operators

# Median and 95th percentile of the error in percent, models then operators that hold >= 2 %.
GOALS = {
    "cortex-m0plus/cmsis-nn-c": (1.0, 4.0, 0.5, 6.0),
    "cortex-m0plus/reference": (1.0, 4.0, 0.5, 6.0),
    "cortex-m33/cmsis-nn-dsp": (0.5, 3.0, 0.5, 6.0),
    "cortex-m4f/cmsis-nn-dsp": (0.5, 3.0, 0.5, 6.0),
    "cortex-m4f/reference": (0.5, 3.0, 0.5, 6.0),
    "cortex-m55/cmsis-nn-mve": (0.5, 4.0, 0.5, 6.0),
    "cortex-m7/cmsis-nn-dsp": (0.5, 3.0, 0.5, 6.0),
}
Floats = dict[str, tuple[list[float], list[float]]]


@cache
def errors() -> Floats:
    """Build -> errors in percent of models and of operators that hold >= 2 %."""
    rows = counted_operators()
    predicted = fit_instructions.held_out(rows, fit_instructions.group_rows(rows))
    totals: dict[tuple[str, str], list[tuple[CountedOperator, float]]] = defaultdict(list)
    for row, value in zip(rows, predicted, strict=True):
        totals[row.build, row.model].append((row, float(value)))
    found: Floats = defaultdict(lambda: ([], []))
    for (build, _), operators in totals.items():
        whole = sum(row.instructions for row, _ in operators)
        guess = sum(value for _, value in operators)
        if not np.isnan(guess):
            found[build][0].append(abs(guess / whole - 1) * 100)
        found[build][1].extend(
            abs(value / row.instructions - 1) * 100
            for row, value in operators
            if row.instructions >= 0.02 * whole and not np.isnan(value)
        )
    return found


def test_every_measured_build_is_held() -> None:
    """Each build that was measured has a goal here, and no other."""
    assert set(errors()) == set(GOALS)


@pytest.mark.parametrize("build", sorted(GOALS))
def test_models_left_out_are_predicted(build: str) -> None:
    """Leave-one-model-out, instructions per model and per operator stay within the goals."""
    model_median, model_tail, operator_median, operator_tail = GOALS[build]
    models, operators = errors()[build]
    assert len(models) >= 60
    assert np.median(models) <= model_median
    assert np.percentile(models, 95) <= model_tail
    assert np.median(operators) <= operator_median
    assert np.percentile(operators, 95) <= operator_tail


def test_the_shipped_coefficients_are_those_of_the_fit() -> None:
    """What a fit of the tables in the repository gives is what the package carries."""
    shipped = json.loads(fit_instructions.OUTPUT.read_text())
    groups = fit_instructions.group_rows(counted_operators())
    assert {(build, key) for build in shipped for key in shipped[build]} == set(groups)
    for (build, key), group in sorted(groups.items())[::10]:
        names, terms, counts, ticks = group.matrix()
        fitted = fit_instructions.solve(key, names, terms, counts, ticks, build=build)
        carried = np.array([shipped[build][key]["terms"].get(name, 0.0) for name in names])
        assert terms @ carried == pytest.approx(terms @ fitted, rel=1e-4)
