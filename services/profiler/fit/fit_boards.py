"""Fits what turns instructions into cycles to published board timings, and says how well it does.

Run `python services/profiler/fit/fit_boards.py`; it writes
services/profiler/src/linnet_profiler/data/calibration.json and prints how well it predicts rows of
models it never saw.

A row's cycles are modelled as

    cycles = per_instruction * instructions + per_streamed_byte * bytes of dense weights + overhead

where dense weights are read once an inference, past any cache. A board's parameters start at its
family's (core, kernel library, cache), the family's at what the architecture lets expect; rows pull
them away as far as they weigh. Rows of TF 2.3.1 and of other vendors' kernels are left out.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from linnet_profiler.cost.instructions import count_instructions
from linnet_profiler.cost.timing import EXPECTED, streamed_bytes, timing_class
from linnet_profiler.targets import Target, find_target
from scipy.optimize import nnls
from truth_rows import model, table

OUTPUT: Final = Path(__file__).parents[1] / "src" / "linnet_profiler" / "data" / "calibration.json"
Floats = npt.NDArray[np.float64]

# Board as the measurements name it -> target.
BOARDS: Final = {
    "NUCLEO-L4R5ZI": "nucleo-l4r5zi",
    "NUCLEO-L432KC": "nucleo-l432kc",
    "EK-RA6M4": "ek-ra6m4",
    "BRD2601 (xG24 dev kit)": "xg24-dk2601b",
    "FRDM-MCXN947": "frdm-mcxn947",
    "EK-RA8D1": "ek-ra8d1",
    "apollo510_evb": "apollo510-evb",
    "Arduino Giga R1": "arduino-giga-r1",
    "Arduino Portenta M7": "arduino-portenta-h7",
    "NUCLEO H743ZI2 {opt=o3}": "nucleo-h743zi2",
    "NUCLEO-F746ZG": "nucleo-f746zg",
    "Teensy 4.0": "teensy-40",
    "Feather M4 Express {opt=fastest,speed=200}": "feather-m4",
    "Arduino Nano 33": "arduino-nano-33-ble",
    "Raspberry Pi Pico": "raspberry-pi-pico",
    "Seeeduino XIAO": "seeeduino-xiao",
    "ESP32 devkit": "esp32",
    "ESP-32S NodeMCU v1.3": "esp32",
    "ESP32 Dev Module": "esp32",
    "LOLIN D32": "esp32",
    "Arduino Nano ESP32": "arduino-nano-esp32",
    "ESP32-P4 devkit": "esp32-p4",
    "ESP32-C3 devkit": "esp32-c3",
}
# How far one row strays from its board, and a parameter from what it starts at, as shares.
ROW_SPREAD: Final = 0.10
BOARD_SPREAD: Final = (0.20, 0.6, 1.0)
FAMILY_SPREAD: Final = (0.20, 0.6, 1.0)
# Rows off by more count less: one source's harness must not bend a family.
OUTLIER: Final = 0.15
ROUNDS: Final = 6
MIN_BAND: Final = 1.15
BAND_SHARE: Final = 0.90
# Models unlike the timed ones stray further than those do from each other.
NEW_MODEL_BAND: Final = 1.6
# ESP-NN's timings are few and its counts those of another core.
ESP_BAND: Final = 2.0
# From so many rows on, a board's own errors make its band.
OWN_BAND_ROWS: Final = 8


@dataclass(frozen=True, slots=True)
class Timed:
    """One timing of a model on a board.

    Attributes:
        row: Row id of the measurements.
        board: Board as the measurements name it.
        target: The target it stands for.
        kind: int8 or float32.
        model: Name of the model file.
        counts: [instructions, streamed bytes, 1].
        cycles: Time times clock.
        confidence: A, B or C.
        cmsis: CMSIS-NN kernels are stated.
        dense: Only dense layers and their activations.
    """

    row: str
    board: str
    target: Target
    kind: str
    model: str
    counts: tuple[float, float, float]
    cycles: float
    confidence: str
    cmsis: bool
    dense: bool

    @property
    def family(self) -> str:
        """Core, library and cache."""
        return timing_class(self.target)


def timed_rows() -> list[Timed]:
    """Every usable timing."""
    found = []
    for row in table("board_measurements"):
        usable = row["local_model"] and row["latency_ms"] and row["kind"] == "model"
        if not usable or row["board"] not in BOARDS or "2.3.1" in row["runtime"]:
            continue
        target = find_target(BOARDS[row["board"]])
        floating = row["precision"].startswith("float")
        if "reference" in row["kernels"] and not floating:
            continue
        name = Path(row["local_model"]).stem
        graph = model(f"published/{name}").main
        counts = target.core.counts[target.kernels]
        instructions = sum(
            count_instructions(graph, operator, counts).instructions for operator in graph.operators
        )
        streamed = sum(streamed_bytes(graph, operator) for operator in graph.operators)
        kinds = {operator.name for operator in graph.operators}
        found.append(
            Timed(
                row=row["row_id"],
                board=row["board"],
                target=target,
                kind="float32" if floating else "int8",
                model=name,
                counts=(instructions, float(streamed), 1.0),
                cycles=float(row["latency_ms"]) * 1e3 * float(row["clock_mhz"]),
                confidence=row["confidence"],
                cmsis="CMSIS-NN" in row["kernels"],
                dense=kinds <= {"FULLY_CONNECTED", "SOFTMAX", "ELU", "RESHAPE"},
            )
        )
    return found


def solve(rows: list[Timed], start: Floats, spread: tuple[float, float, float]) -> Floats:
    """Parameters that fit rows without straying far from where they start."""
    if not rows:
        return start
    # Rows of one model on one board are one observation of it.
    sharing: dict[tuple[str, str], int] = defaultdict(int)
    for row in rows:
        sharing[row.board, row.model] += 1
    weight = np.array([1 / np.sqrt(sharing[row.board, row.model]) for row in rows]) / ROW_SPREAD
    terms = np.array([row.counts for row in rows]) / np.array([[row.cycles] for row in rows])
    prior = np.diag(1 / (np.array(spread) * np.maximum(start, 1e-9)))
    target_prior = 1 / np.array(spread)
    trust = np.ones(len(rows))
    solution = start
    for _ in range(ROUNDS):
        scale = weight * trust
        matrix = np.vstack([terms * scale[:, None], prior])
        columns = np.maximum(matrix.max(axis=0), 1e-12)
        fitted, _ = nnls(matrix / columns, np.concatenate([scale, target_prior]))
        solution = np.asarray(fitted / columns, dtype=np.float64)
        missed = np.abs(terms @ solution - 1)
        trust = np.sqrt(OUTLIER / np.maximum(missed, OUTLIER))
    return solution


def family_start(target: Target, kind: str) -> Floats:
    """What the architecture lets expect."""
    return np.array(EXPECTED.of(target, kind), dtype=np.float64)


def parameters(rows: list[Timed], target: Target, kind: str) -> tuple[Floats, Floats]:
    """A target's parameters, and its family's, from the rows given."""
    start = family_start(target, kind)
    family_rows = [row for row in rows if row.family == timing_class(target) and row.kind == kind]
    family = solve(family_rows, start, FAMILY_SPREAD)
    own = [row for row in family_rows if row.target.id == target.id]
    return solve(own, family, BOARD_SPREAD), family


def held_out(rows: list[Timed]) -> list[float]:
    """Predicted over measured cycles of each row, by parameters that never saw its model."""
    ratios = []
    for row in rows:
        others = [other for other in rows if other.model != row.model]
        fitted, _ = parameters(others, row.target, row.kind)
        ratios.append(float(np.array(row.counts) @ fitted) / row.cycles)
    return ratios


def band_of(ratios: Iterable[float]) -> float:
    """Factor within which nine of ten held-out rows lie."""
    sizes = np.abs(np.log(np.array(list(ratios))))
    return max(MIN_BAND, float(np.exp(np.quantile(sizes, BAND_SHARE))))


def band_for(target: Target, kind: str, rows: list[Timed], ratios: list[float]) -> float:
    """A board's band from how far held-out rows lie off: its own where it has eight of them.

    Args:
        target: The board.
        kind: int8 or float32.
        rows: Timings.
        ratios: Predicted over measured of each, its model held out.
    """
    pairs = list(zip(rows, ratios, strict=True))
    mine = [ratio for row, ratio in pairs if row.target.id == target.id and row.kind == kind]
    if len(mine) >= OWN_BAND_ROWS:
        return band_of(mine)
    everyone = band_of(ratio for row, ratio in pairs if counted(row)) if kind == "int8" else 0.0
    return max(everyone, NEW_MODEL_BAND, ESP_BAND if target.kernels.is_esp else 0.0)


def left_out_bands(rows: list[Timed]) -> list[float]:
    """The band that each row's board would have had if nobody had ever timed the row's model.

    Neither the parameters nor the errors that the band is made of have seen the model: those
    errors are themselves held out among the rows of the other models.
    """
    without: dict[str, tuple[list[Timed], list[float]]] = {}
    for name in {row.model for row in rows}:
        others = [row for row in rows if row.model != name]
        without[name] = others, held_out(others)
    return [band_for(row.target, row.kind, *without[row.model]) for row in rows]


def counted(row: Timed) -> bool:
    """Rows the calibration answers for: int8 with CMSIS-NN stated."""
    return row.kind == "int8" and row.cmsis


def main() -> None:
    """Fit, write, report."""
    rows = timed_rows()
    ratios = held_out(rows)
    calibration: dict[str, dict[str, Any]] = {"families": {}, "boards": {}}
    for kind in ("int8", "float32"):
        for target_id in sorted({row.target.id for row in rows if row.kind == kind}):
            target = find_target(target_id)
            fitted, family = parameters(rows, target, kind)
            band = band_for(target, kind, rows, ratios)
            timed = sum(row.target.id == target_id and row.kind == kind for row in rows)
            calibration["boards"].setdefault(target_id, {})[kind] = entry(fitted, band, timed)
            family_rows = [
                ratio
                for row, ratio in zip(rows, ratios, strict=True)
                if row.family == timing_class(target) and row.kind == kind
            ]
            wide = max(2.0, band_of(family_rows))
            calibration["families"].setdefault(timing_class(target), {})[kind] = entry(
                family, wide, len(family_rows)
            )
    OUTPUT.write_text(json.dumps(calibration, indent=1, sort_keys=True) + "\n")
    report(rows, ratios)


def entry(values: Floats, band: float, rows: int) -> dict[str, float | int]:
    """One record of the calibration file."""
    return {
        "cycles_per_instruction": round(float(values[0]), 4),
        "cycles_per_streamed_byte": round(float(values[1]), 4),
        "overhead_cycles": round(float(values[2]), 1),
        "band": round(band, 3),
        "rows": rows,
    }


def report(rows: list[Timed], ratios: list[float]) -> None:
    """Print every held-out row and the summary."""
    errors = {row.row: abs(ratio - 1) * 100 for row, ratio in zip(rows, ratios, strict=True)}
    bands = left_out_bands(rows)
    inside, widths = [], []
    triples = zip(rows, ratios, bands, strict=True)
    for row, ratio, band in sorted(triples, key=lambda triple: triple[0].board):
        if counted(row):
            inside.append(1 / band <= ratio <= band)
            widths.append(band)
            error = (ratio - 1) * 100
            print(f"{row.confidence} {row.board[:24]:24} {row.model:22} {error:+6.1f} %")
    main_rows = [errors[row.row] for row in rows if counted(row)]
    sure = [
        errors[row.row]
        for row in rows
        if counted(row)
        and row.confidence == "A"
        and row.target.core.id in ("cortex-m4f", "cortex-m33")
    ]
    dense = [errors[row.row] for row in rows if row.kind == "float32" and row.dense]
    print(
        f"int8 CMSIS-NN: {len(main_rows)} rows, median {np.median(main_rows):.1f} %, within 30 %: "
        f"{np.mean(np.array(main_rows) <= 30):.0%}, band holds {np.mean(inside):.0%}, "
        f"mean half-width x{np.mean(widths):.2f}"
    )
    print(f"M4F and M33 of confidence A: median {np.median(sure):.1f} %, max {max(sure):.1f} %")
    print(
        f"float dense: {len(dense)} rows, median {np.median(dense):.1f} %, p90 "
        f"{np.percentile(dense, 90):.1f} %"
    )


if __name__ == "__main__":
    main()
