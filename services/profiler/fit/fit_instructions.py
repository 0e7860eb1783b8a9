"""Fits the instruction model: non-negative least squares of the relative error, per build and path.

Run `python services/profiler/fit/fit_instructions.py` from the repository; it writes
services/profiler/src/linnet_profiler/data/instructions.json and prints the leave-one-model-out
error of each build.
"""

# ruff: noqa: INP001, T201 - scripts run by hand, not a package

from __future__ import annotations

import json
from collections import defaultdict
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
from linnet_profiler.op_cost import Cost, cost_of
from scipy.optimize import nnls
from truth_rows import CountedOperator, counted_operators

OUTPUT: Final = Path(__file__).parents[1] / "src" / "linnet_profiler" / "data" / "instructions.json"
Floats = npt.NDArray[np.float64]
SOFT_FLOAT_CORES: Final = ("cortex-m0plus",)


def solve(terms: Floats, counts: Floats, ticks: Floats) -> Floats:
    """Non-negative coefficients that minimise the relative error.

    Args:
        terms: [rows, terms] loop counts.
        counts: [rows] measured instructions.
        ticks: [rows] resolution of each count.
    """
    weights = 1 / np.maximum(counts, 4 * ticks)
    scale = np.maximum((terms * weights[:, None]).max(axis=0), 1e-12)
    solution, _ = nnls(terms * weights[:, None] / scale, counts * weights, maxiter=20_000)
    return np.asarray(solution / scale, dtype=np.float64)


class Group:
    """Rows of one build that share coefficients."""

    def __init__(self) -> None:
        self.places: list[int] = []
        self.costs: list[Cost] = []
        self.rows: list[CountedOperator] = []

    def add(self, place: int, cost: Cost, row: CountedOperator) -> None:
        """Take one row in."""
        self.places.append(place)
        self.costs.append(cost)
        self.rows.append(row)

    def matrix(self) -> tuple[list[str], Floats, Floats, Floats]:
        """Names of the terms, the terms, the counts, the ticks."""
        names = sorted({name for cost in self.costs for name in cost.terms})
        terms = np.array([[cost.terms.get(name, 0.0) for name in names] for cost in self.costs])
        counts = np.array([row.instructions for row in self.rows], dtype=np.float64)
        ticks = np.array([row.tick for row in self.rows], dtype=np.float64)
        return names, terms, counts, ticks


def group_rows(rows: list[CountedOperator]) -> dict[tuple[str, str], Group]:
    """Rows by build and path."""
    groups: dict[tuple[str, str], Group] = defaultdict(Group)
    for place, row in enumerate(rows):
        soft = row.core in SOFT_FLOAT_CORES
        cost = cost_of(row.graph, row.operator, row.kernels, soft_float=soft)
        groups[row.build, cost.key].add(place, cost, row)
    return groups


def held_out(rows: list[CountedOperator], groups: dict[tuple[str, str], Group]) -> Floats:
    """Prediction of every row by coefficients that never saw its model; NaN where none is left."""
    predicted = np.full(len(rows), np.nan)
    for group in groups.values():
        _, terms, counts, ticks = group.matrix()
        models = np.array([row.model for row in group.rows])
        places = np.array(group.places)
        for name in np.unique(models):
            mine = models == name
            if mine.all():
                continue
            predicted[places[mine]] = terms[mine] @ solve(terms[~mine], counts[~mine], ticks[~mine])
    return predicted


def main() -> None:
    """Fit, write, report."""
    rows = counted_operators()
    groups = group_rows(rows)
    builds: dict[str, dict[str, object]] = defaultdict(dict)
    for (build, key), group in sorted(groups.items()):
        names, terms, counts, ticks = group.matrix()
        coefficients = solve(terms, counts, ticks)
        builds[build][key] = {
            "terms": {
                name: float(f"{value:.6g}")
                for name, value in zip(names, coefficients, strict=True)
                if value > 0
            },
            "rows": len(counts),
            "models": len({row.model for row in group.rows}),
        }
    OUTPUT.write_text(json.dumps(builds, indent=0, sort_keys=True) + "\n")
    report(rows, held_out(rows, groups))


def report(rows: list[CountedOperator], predicted: Floats) -> None:
    """Print the leave-one-model-out errors per build."""
    totals: dict[tuple[str, str], list[float]] = defaultdict(lambda: [0.0, 0.0])
    for row, value in zip(rows, predicted, strict=True):
        pair = totals[row.build, row.model]
        pair[0] += row.instructions
        pair[1] += value
    for build in sorted({row.build for row in rows}):
        models = [
            abs(guess - truth) / truth * 100
            for (name, _), (truth, guess) in totals.items()
            if name == build and not np.isnan(guess)
        ]
        operators = [
            abs(value - row.instructions) / row.instructions * 100
            for row, value in zip(rows, predicted, strict=True)
            if row.build == build
            and not np.isnan(value)
            and row.instructions >= 0.02 * totals[build, row.model][0]
        ]
        print(
            f"{build}: models {len(models)} median {np.median(models):.2f} % "
            f"p95 {np.percentile(models, 95):.2f} %, operators {len(operators)} "
            f"median {np.median(operators):.2f} % p95 {np.percentile(operators, 95):.2f} %"
        )


if __name__ == "__main__":
    main()
