"""Fits code size: base + kernels + shared groups, non-negative, relative error, per build.

Run `python services/profiler/fit/fit_code_size.py`; it writes
services/profiler/src/linnet_profiler/data/code_size.json and prints in-sample and leave-one-out
errors.
"""

from __future__ import annotations

import json
from collections import defaultdict
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
from linnet_profiler.program.code_parts import parts_of
from scipy.optimize import nnls
from truth_rows import kernel_set, table

OUTPUT: Final = Path(__file__).parents[1] / "src" / "linnet_profiler" / "data" / "code_size.json"
# What a part takes in the builds for other cores is a first guess of what it takes in this one:
# being off by a third of it and 200 bytes weighs as much as missing one row by this share.
GUESS_WEIGHT: Final = 0.001
GUESS_SHARE: Final = 0.33
GUESS_BYTES: Final = 200.0
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


def solve(names: list[str], rows: list[Row], guess: Floats) -> Floats:
    """Bytes of each part: non-negative, relative error, close to a first guess."""
    matrix = design(names, rows)
    sizes = np.array([row[2] for row in rows])
    pull = GUESS_WEIGHT / (GUESS_SHARE * guess + GUESS_BYTES)
    stacked = np.vstack([matrix / sizes[:, None], np.diag(pull)])
    target = np.concatenate([np.ones(len(rows)), pull * guess])
    solution, _ = nnls(stacked * 1000, target * 1000, maxiter=20_000)
    return np.asarray(solution, dtype=np.float64)


def guess_from(names: list[str], build: str, first: dict[str, dict[str, float]]) -> Floats:
    """What the parts take in other builds with the same kernels, on average; 0 where unknown."""
    others = [
        parts
        for other, parts in first.items()
        if other != build and ("reference" in other) == ("reference" in build)
    ]
    return np.array(
        [np.mean([parts.get(name, 0.0) for parts in others]) if others else 0.0 for name in names]
    )


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


def first_guesses(tables: dict[str, list[Row]]) -> dict[str, dict[str, float]]:
    """What each build's rows say of its parts without any guess."""
    first = {}
    for build, rows in tables.items():
        names = part_names(rows)
        alone = solve(names, rows, np.zeros(len(names)))
        first[build] = dict(zip(names, (float(size) for size in alone), strict=True))
    return first


def inside_errors(names: list[str], rows: list[Row], sizes: Floats) -> list[float]:
    """Error of each row in percent, with the parts' sizes given."""
    measured = np.array([row[2] for row in rows])
    return list(np.abs(design(names, rows) @ sizes - measured) / measured * 100)


def left_out_errors(names: list[str], rows: list[Row], guess: Floats) -> list[tuple[float, str]]:
    """Error in percent of each row with several operators, by a fit that never saw it."""
    found = []
    for number, row in enumerate(rows):
        if len(row[0]) > 1:
            others = solve(names, rows[:number] + rows[number + 1 :], guess)
            missed = abs(float((design(names, [row]) @ others)[0]) - row[2])
            found.append((missed / row[2] * 100, " ".join(row[0])))
    return found


def main() -> None:
    """Fit, write, report."""
    tables = dict(sorted(read_rows().items()))
    first = first_guesses(tables)
    builds = {}
    for build, rows in tables.items():
        names = part_names(rows)
        guess = guess_from(names, build, first)
        solution = solve(names, rows, guess)
        builds[build] = {
            name: round(float(value))
            for name, value in zip(names, solution, strict=True)
            if value >= 1
        }
        inside = inside_errors(names, rows, solution)
        worst = max(left_out_errors(names, rows, guess))
        print(
            f"{build}: rows {len(rows)} in-sample max {max(inside):.2f} %, "
            f"leave-one-out max {worst[0]:.2f} % ({worst[1]})"
        )
    OUTPUT.write_text(json.dumps(builds, indent=0, sort_keys=True) + "\n")


if __name__ == "__main__":
    main()
