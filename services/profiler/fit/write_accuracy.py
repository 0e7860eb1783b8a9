"""Writes docs/profiler-accuracy.md: how well the figures hold, and what is not measured.

Run `python services/profiler/fit/write_accuracy.py`; it takes a minute and reads only what lies in
the repository.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import Final

import fit_boards
import fit_code_size
import fit_instructions
import numpy as np
from fit_boards import Timed
from linnet_profiler.support import SUPPORTED
from linnet_profiler.targets import cores, targets
from truth_rows import CountedOperator, counted_operators

OUTPUT: Final = Path(__file__).parents[3] / "docs" / "profiler-accuracy.md"
WORTH: Final = 0.02
TYPES: Final = {"INT8": "i8", "FLOAT32": "f32"}
HEAD: Final = """# How far the profiler's figures can be trusted

Written by `python services/profiler/fit/write_accuracy.py` from the tables in the repository; see
[profiler.md](profiler.md) for what the figures mean. "Left out" means that the model (for code
size the build, for time on boards the model) took no part in the fit that predicts it.
"""


def table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> list[str]:
    """A Markdown table."""
    names = list(head)
    lines = ["| " + " | ".join(names) + " |", "|" + " --- |" * len(names)]
    return [*lines, *("| " + " | ".join(row) + " |" for row in rows)]


def instructions(rows: list[CountedOperator]) -> list[str]:
    """Errors of models and operators, left out, by build."""
    predicted = fit_instructions.held_out(rows, fit_instructions.group_rows(rows))
    totals: dict[tuple[str, str], list[tuple[float, float]]] = defaultdict(list)
    for row, value in zip(rows, predicted, strict=True):
        totals[row.build, row.model].append((float(row.instructions), float(value)))
    lines = []
    for build in sorted({row.build for row in rows}):
        models, operators = [], []
        for (name, _), pairs in totals.items():
            if name != build:
                continue
            whole = sum(truth for truth, _ in pairs)
            guess = sum(value for _, value in pairs)
            if not np.isnan(guess):
                models.append(abs(guess / whole - 1) * 100)
            operators += [
                abs(value / truth - 1) * 100
                for truth, value in pairs
                if truth >= WORTH * whole and not np.isnan(value)
            ]
        lines.append([build, *summary(models), *summary(operators)])
    head = ["build", "models", "median %", "95th %", "operators", "median %", "95th %"]
    return ["## Instructions, models left out", "", *table(head, lines), ""]


def summary(errors: list[float]) -> list[str]:
    """Number, median and 95th percentile."""
    return [str(len(errors)), f"{np.median(errors):.2f}", f"{np.percentile(errors, 95):.2f}"]


def code_size() -> list[str]:
    """Errors of code size by build."""
    tables = dict(sorted(fit_code_size.read_rows().items()))
    first = fit_code_size.first_guesses(tables)
    lines = []
    for build, rows in tables.items():
        names = fit_code_size.part_names(rows)
        guess = fit_code_size.guess_from(names, build, first)
        inside = fit_code_size.inside_errors(names, rows, fit_code_size.solve(names, rows, guess))
        outside = sorted(fit_code_size.left_out_errors(names, rows, guess))
        worst, operators = outside[-1]
        lines.append(
            [
                build,
                str(len(rows)),
                f"{max(inside):.2f}",
                f"{outside[-2][0]:.2f}",
                f"{worst:.2f}",
                operators,
            ]
        )
    head = [
        "build",
        "rows",
        "worst, fitted %",
        "second worst, left out %",
        "worst, left out %",
        "of",
    ]
    return ["## Code size", "", *table(head, lines), ""]


def boards() -> list[str]:
    """Every timing and what was predicted for it."""
    rows = fit_boards.timed_rows()
    ratios = fit_boards.held_out(rows)
    lines = [
        [
            row.row,
            row.target.id,
            row.kind,
            row.model,
            row.confidence,
            f"{row.cycles / row.target.clock_hz * 1e3:.3g}",
            f"{(ratio - 1) * 100:+.1f}",
            "yes" if fit_boards.counted(row) or (row.kind == "float32" and row.dense) else "no",
        ]
        for row, ratio in sorted(zip(rows, ratios, strict=True), key=lambda pair: pair[0].row)
    ]
    head = ["row", "board", "type", "model", "confidence", "ms", "error %", "counted"]
    note = (
        "The milliseconds are at the target's usual clock. Rows of ESP-NN and of unstated kernels "
        "are shown and not counted; TF 2.3.1 and other vendors' kernels take no part at all."
    )
    held = band_lines(rows, ratios)
    return ["## Time on boards, models left out", "", note, "", *held, *table(head, lines), ""]


def band_lines(rows: list[Timed], ratios: list[float]) -> list[str]:
    """How often the 90 % band holds, with the shipped bands and with bands that saw no such row."""
    calibration = json.loads(fit_boards.OUTPUT.read_text())["boards"]
    shipped = [calibration[row.target.id][row.kind]["band"] for row in rows]
    lines = []
    for name, bands in (
        ("as shipped", shipped),
        ("model left out of the band too", fit_boards.left_out_bands(rows)),
    ):
        chosen = [
            (ratio, band)
            for row, ratio, band in zip(rows, ratios, bands, strict=True)
            if fit_boards.counted(row)
        ]
        held = sum(1 / band <= ratio <= band for ratio, band in chosen)
        width = np.mean([band for _, band in chosen])
        share = f"{held} of {len(chosen)} ({held / len(chosen):.0%})"
        lines.append([name, share, f"{width:.2f}", f"{max(band for _, band in chosen):.2f}"])
    head = ["90 % band of int8 rows with CMSIS-NN", "holds", "mean factor", "largest"]
    note = (
        f"No board's band is below a factor of {fit_boards.NEW_MODEL_BAND:g} unless eight timings "
        "of its own say so: with nine models among these rows, a narrower one would be luck."
    )
    return [*table(head, lines), "", note, ""]


def estimated_cores() -> list[str]:
    """Which build stands for each core and kernel set."""
    lines = [
        [core.id, kernels.value, counts.build, f"{counts.factor:g}", counts.basis.value]
        for core in cores().values()
        for kernels, counts in core.counts.items()
    ]
    head = ["core", "kernels", "counts of", "times", "basis"]
    return ["## Cores", "", *table(head, lines), ""]


def estimated_operators(rows: list[CountedOperator]) -> list[str]:
    """Which element types of each operator were counted on each build."""
    builds = sorted({row.build for row in rows})
    found: dict[tuple[str, str], set[str]] = defaultdict(set)
    for row in rows:
        place = {"TRANSPOSE_CONV": 2, "SPLIT": 1}.get(row.operator.name, 0)
        image = row.graph.input(row.operator, place)
        kind = "" if image is None else TYPES.get(image.dtype, image.dtype.lower())
        found[row.operator.name, row.build].add(kind)
    measured = sorted({name for name, _ in found})
    lines = [
        [name, *(" ".join(sorted(found.get((name, build), {"estimated"}))) for build in builds)]
        for name in measured
    ]
    rest = ", ".join(sorted(SUPPORTED - set(measured)))
    return [
        "## Operators",
        "",
        "Element types that were counted; every other type of an operator is estimated.",
        "",
        *table(["operator", *builds], lines),
        "",
        f"Without any count, and estimated everywhere: {rest}.",
        "",
    ]


def untimed_boards() -> list[str]:
    """Boards that nobody timed."""
    timed = {row.target.id for row in fit_boards.timed_rows()}
    rest = ", ".join(sorted(set(targets()) - timed))
    return [
        "## Boards without timings",
        "",
        f"Estimated, with a band of at least a factor of 2: {rest}.",
        "",
    ]


def main() -> None:
    """Write the page."""
    rows = counted_operators()
    parts = [
        instructions(rows),
        code_size(),
        boards(),
        untimed_boards(),
        estimated_cores(),
        estimated_operators(rows),
    ]
    OUTPUT.write_text("\n".join([HEAD, *(line for part in parts for line in part)]))


if __name__ == "__main__":
    main()
