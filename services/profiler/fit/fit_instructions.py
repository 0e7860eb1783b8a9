"""Fits the instruction model: non-negative least squares of the relative error, per build and path.

Run `python services/profiler/fit/fit_instructions.py` from the repository; it writes
services/profiler/src/linnet_profiler/data/instructions.json and prints the leave-one-model-out
error of each build.
"""

from __future__ import annotations

import json
from collections import defaultdict
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
from linnet_profiler.cost.operators import Cost, cost_of
from scipy.optimize import nnls
from truth_rows import CountedOperator, counted_operators

OUTPUT: Final = Path(__file__).parents[1] / "src" / "linnet_profiler" / "data" / "instructions.json"
Floats = npt.NDArray[np.float64]
SOFT_FLOAT_CORES: Final = ("cortex-m0plus",)


# What a loop body is expected to take before any row is seen, in instructions of a Thumb-2 core,
# read off the kernels' source: it decides only what too few models tell apart.
EXPECTED: Final = {
    "calls": 300.0,
    "word_runs": 33.0,
    "run_big_blocks": 35.0,
    "run_blocks": 10.0,
    "run_words": 2.5,
    "run_rest": 5.0,
    "byte_runs": 32.0,
    "run_bytes": 2.0,
    "odd_runs": 50.0,
    "odd_run_words": 1.8,
    "AVERAGE_POOL_2D:tap_rest": 6.0,
    "BINARY:broadcast_elements": 1.0,
    "BINARY:broadcast_rows": 50.0,
    "BINARY:broadcasts": 200.0,
    "DEPTHWISE_CONV_2D:tile_taps": 14.0,
    "DEPTHWISE_CONV_2D:tile_rows": 25.0,
    "DEPTHWISE_CONV_2D:tiles": 170.0,
    "DEPTHWISE_CONV_2D:dilated_outputs": 35.0,
    "DENSE:group_outputs": 100.0,
    "DENSE:group_loops": 12.0,
    "DENSE:rest_outputs": 50.0,
    "DENSE:rest_loops": 12.0,
    "DENSE:product_outputs": 17.0,
    "DENSE:product_rows": 30.0,
    "DENSE:product_calls": 600.0,
    "DENSE:copied": 10.0,
    "PAD:copied": 36.0,
    "PAD:filled": 22.0,
    "PAD:filled_beside": 36.0,
    "PAD:padded_pixels": 12.0,
    "PAD:padded_rows": 20.0,
    "PAD:rows": 20.0,
    "TRANSPOSE_CONV:block_lanes": 6.0,
    "TRANSPOSE_CONV:block_loops": 7.0,
    "TRANSPOSE_CONV:few_lanes": 5.0,
    "TRANSPOSE_CONV:filter_rows": 14.0,
    "TRANSPOSE_CONV:output_blocks": 45.0,
    "TRANSPOSE_CONV:outputs": 45.0,
    "TRANSPOSE_CONV:rest_lanes": 4.0,
    "TRANSPOSE_CONV:rest_loops": 6.0,
    "TRANSPOSE_CONV:reset_blocks": 5.0,
    "TRANSPOSE_CONV:resets": 12.0,
    "TRANSPOSE_CONV:tap_lanes": 5.0,
    "TRANSPOSE_CONV:tap_runs": 8.0,
}
# The same for CMSIS-NN's row-wise padding, whose loops share names with the reference kernel's.
EXPECTED_PATHS: Final = {
    "DEPTHWISE_CONV_2D|INT8|generic_1": {"taps": 13.0, "rows": 25.0, "outputs": 95.0},
    "BINARY|FLOAT32|binary": {"broadcasts": 100.0},
    "PAD|INT8|cmsis": {"lines": 130.0, "copied": 0.6, "filled": 0.6},
}
ARMV6M_FACTOR: Final = 2.2
# Terms that count instructions of the C library: each is itself, on the only core that has them.
COUNTED: Final = {"copying": 1.0, "filling": 1.0, "division": 1.0}
# Loops of loads, stores and comparisons that fit into the low registers lose less.
ARMV6M_FACTORS: Final = {"PAD|FLOAT32|elements": 1.3, "PAD|INT8|elements": 1.3}
# Missing an expectation by all of it weighs as much as missing one row by this share.
EXPECTATION_WEIGHT: Final = 0.03
COUNTED_WEIGHT: Final = 1.0
# Reweighting: rows off by more than this share count less and less.
OUTLIER: Final = 0.02
ROUNDS: Final = 5


def solve(
    key: str, names: list[str], terms: Floats, counts: Floats, ticks: Floats, *, build: str
) -> Floats:
    """Non-negative coefficients that minimise the relative error.

    Args:
        key: Family, element type and path of the rows.
        names: [terms] names of the loop bodies.
        terms: [rows, terms] loop counts.
        counts: [rows] measured instructions.
        ticks: [rows] resolution of each count.
        build: Core and kernel set of the rows.
    """
    weights = 1 / np.maximum(counts, 4 * ticks)
    matrix, target = terms * weights[:, None], counts * weights
    expected = {name: value for name in names for value in [expectation(key, name)] if value}
    prior = np.zeros((len(expected), len(names)))
    for row, (name, value) in enumerate(expected.items()):
        wanted = value * core_factor(build, key, name)
        prior[row, names.index(name)] = expectation_weight(name) / wanted
    matrix = np.vstack([matrix, prior])
    target = np.concatenate([target, [expectation_weight(name) for name in expected]])
    scale = np.maximum(matrix.max(axis=0), 1e-12)
    trust = np.ones(len(target))
    for _ in range(ROUNDS):
        solution, _ = nnls(matrix * trust[:, None] / scale, target * trust, maxiter=20_000)
        missed = np.abs(matrix @ (solution / scale) - target)
        # Rows that depend on their data miss by much; they must not bend the others.
        trust = np.sqrt(OUTLIER / np.maximum(missed, OUTLIER))
        trust[len(counts) :] = 1.0
    return np.asarray(solution / scale, dtype=np.float64)


def expectation(key: str, name: str) -> float | None:
    """What a loop body is expected to take on a Thumb-2 core, None where nothing is known."""
    if name in COUNTED:
        return COUNTED[name]
    family = key.partition("|")[0]
    known = EXPECTED.get(f"{family}:{name}", EXPECTED.get(name))
    return EXPECTED_PATHS.get(key, {}).get(name, known)


def expectation_weight(name: str) -> float:
    """How much it weighs to miss what a loop body is expected to take."""
    return COUNTED_WEIGHT if name in COUNTED else EXPECTATION_WEIGHT


def core_factor(build: str, key: str, name: str) -> float:
    """Instructions of a build's core relative to a Thumb-2 core, for one loop body."""
    if name in COUNTED or not build.startswith("cortex-m0"):
        return 1.0
    return ARMV6M_FACTORS.get(key, ARMV6M_FACTOR)


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
    for (build, key), group in groups.items():
        names, terms, counts, ticks = group.matrix()
        models = np.array([row.model for row in group.rows])
        places = np.array(group.places)
        for name in np.unique(models):
            mine = models == name
            if mine.all() and not any(expectation(key, term) for term in names):
                continue
            coefficients = solve(key, names, terms[~mine], counts[~mine], ticks[~mine], build=build)
            predicted[places[mine]] = terms[mine] @ coefficients
    return predicted


def main() -> None:
    """Fit, write, report."""
    rows = counted_operators()
    groups = group_rows(rows)
    builds: dict[str, dict[str, object]] = defaultdict(dict)
    for (build, key), group in sorted(groups.items()):
        names, terms, counts, ticks = group.matrix()
        coefficients = solve(key, names, terms, counts, ticks, build=build)
        builds[build][key] = {
            "terms": {
                name: float(f"{value:.6g}")
                for name, value, seen in zip(names, coefficients, terms.any(axis=0), strict=True)
                if seen
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
