"""Fits code size: base + kernels + shared groups, non-negative, relative error, per build.

Run `python services/profiler/fit/fit_code_size.py`; it writes
services/profiler/src/linnet_profiler/data/code_size.json and prints in-sample and leave-one-out
errors.
"""

# ruff: noqa: INP001, T201 - scripts run by hand, not a package

from __future__ import annotations

import json
from collections import defaultdict
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
from linnet_profiler.code_parts import parts_of
from scipy.optimize import nnls
from truth_rows import kernel_set, table

OUTPUT: Final = Path(__file__).parents[1] / "src" / "linnet_profiler" / "data" / "code_size.json"
# A small pull of every part towards zero keeps parts that always meet from trading size freely.
RIDGE: Final = 2e-4
Floats = npt.NDArray[np.float64]
Row = tuple[tuple[str, ...], bool, float, float]


def read_rows() -> dict[str, list[Row]]:
    """Build -> (operators, INT8-only, code bytes, static RAM bytes)."""
    rows: dict[str, list[Row]] = defaultdict(list)
    for batch in ("first", "second"):
        for row in table(f"{batch}_code_size"):
            kernels = kernel_set(row["core"], row["kernels"])
            rows[f"{row['core']}/{kernels.value}"].append(
                (
                    tuple(row["operators"].split()),
                    row.get("registrations") == "int8",
                    float(row["code_bytes"]),
                    float(row["static_ram_bytes"]),
                )
            )
    return rows


def solve(names: list[str], rows: list[Row]) -> Floats:
    """Bytes of each part."""
    matrix = design(names, rows)
    sizes = np.array([row[2] for row in rows])
    weighted = matrix / sizes[:, None]
    stacked = np.vstack([weighted, RIDGE / 1000 * np.eye(len(names))])
    target = np.concatenate([np.ones(len(rows)), np.zeros(len(names))])
    solution, _ = nnls(stacked * 1000, target * 1000, maxiter=20_000)
    return np.asarray(solution, dtype=np.float64)


def design(names: list[str], rows: list[Row]) -> Floats:
    """One column a part, 1 where a row links it."""
    place = {name: index for index, name in enumerate(names)}
    matrix = np.zeros((len(rows), len(names)))
    for number, (operators, int8_only, _, _) in enumerate(rows):
        for part in parts_of(operators, int8_only=int8_only):
            matrix[number, place[part]] = 1
    return matrix


def part_names(rows: list[Row]) -> list[str]:
    """Every part that any row links."""
    return sorted(
        {part for operators, int8, _, _ in rows for part in parts_of(operators, int8_only=int8)}
    )


def main() -> None:
    """Fit, write, report."""
    builds = {}
    for build, rows in sorted(read_rows().items()):
        names = part_names(rows)
        sizes = np.array([row[2] for row in rows])
        solution = solve(names, rows)
        fitted = design(names, rows) @ solution
        builds[build] = {
            name: round(float(value))
            for name, value in zip(names, solution, strict=True)
            if value >= 1
        }
        inside = np.abs(fitted - sizes) / sizes * 100
        outside = [
            (
                abs(float((design(names, [row]) @ solve(names, others))[0]) - row[2])
                / row[2]
                * 100,
                row[0],
            )
            for number, row in enumerate(rows)
            if len(row[0]) > 1
            for others in [rows[:number] + rows[number + 1 :]]
        ]
        worst = max(outside)
        print(
            f"{build}: rows {len(rows)} in-sample max {inside.max():.2f} % "
            f"({' '.join(rows[int(inside.argmax())][0])}), leave-one-out max {worst[0]:.2f} % "
            f"({' '.join(worst[1])})"
        )
    OUTPUT.write_text(json.dumps(builds, indent=0, sort_keys=True) + "\n")


if __name__ == "__main__":
    main()
