"""Fits cycles per instruction of board families to published timings.

Run `python services/profiler/fit/fit_boards.py`; it writes
services/profiler/src/linnet_profiler/data/calibration.json.
"""

# ruff: noqa: INP001, T201 - scripts run by hand, not a package

from __future__ import annotations

import json
from collections import defaultdict
from pathlib import Path
from typing import Final

import numpy as np
from linnet_profiler.instructions import count_instructions
from linnet_profiler.targets import find_target
from linnet_profiler.timing import timing_class
from truth_rows import model, table

OUTPUT: Final = Path(__file__).parents[1] / "src" / "linnet_profiler" / "data" / "calibration.json"

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


def main() -> None:
    """Fit and write."""
    samples: dict[tuple[str, str, str], list[float]] = defaultdict(list)
    for row in table("board_measurements"):
        if not (row["local_model"] and row["latency_ms"] and row["kind"] == "model"):
            continue
        if "2.3.1" in row["runtime"] or row["board"] not in BOARDS:
            continue
        target = find_target(BOARDS[row["board"]])
        floating = row["precision"].startswith("float")
        if "reference" in row["kernels"] and not floating:
            continue
        counts = target.core.counts[target.kernels]
        graph = model("published/" + Path(row["local_model"]).stem).main
        instructions = sum(
            count_instructions(graph, operator, target.core, counts).instructions
            for operator in graph.operators
        )
        cycles = float(row["latency_ms"]) * 1e3 * float(row["clock_mhz"])
        kind = "float32" if floating else "int8"
        ratio = cycles / instructions
        samples["classes", timing_class(target), kind].append(ratio)
        samples["boards", target.id, kind].append(ratio)
    calibration: dict[str, dict[str, dict[str, object]]] = {"classes": {}, "boards": {}}
    for (level, name, kind), ratios in sorted(samples.items()):
        if level == "boards" and len(ratios) < 3:
            continue
        logs = np.log(ratios)
        spread = max(0.12, float(np.std(logs)))
        calibration[level].setdefault(name, {})[kind] = {
            "cpi": round(float(np.exp(np.median(logs))), 3),
            "band": round(float(np.exp(1.645 * spread)), 2) if len(ratios) > 1 else 2.0,
            "basis": "calibrated",
            "rows": len(ratios),
        }
    OUTPUT.write_text(json.dumps(calibration, indent=1, sort_keys=True) + "\n")


if __name__ == "__main__":
    main()
