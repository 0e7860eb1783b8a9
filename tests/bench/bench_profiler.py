"""How fast the profiler answers and how much memory it takes, against what it must hold.

Run `python tests/bench/bench_profiler.py`; prints one JSON line a figure. Times are of the
processor: all of it is one thread that waits for nothing, and a busy machine must not count.
"""

import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2] / "services" / "profiler" / "fit"))

from layer_lists import CLASSES, networks
from linnet_profiler import find_target, profile_all, targets
from linnet_profiler.estimate import estimate
from truth_rows import model_bytes

ROUNDS = 5
MODELS = {
    "dense preset": ("first/dense00_i8", 50.0),
    "convolution preset": ("first/conv2d11_i8", 50.0),
    "MobileNetV1 0.25": ("published/vww_96_int8", 200.0),
}
PRESETS = (
    "dense-spectral-33",
    "conv1d-audio-49x40",
    "ds-cnn-audio-49x40",
    "mobilenet-image-96x96x3",
)
IMPORT = """
import resource, sys, time
begun = time.process_time()
import linnet_profiler
linnet_profiler.targets()
seconds = time.process_time() - begun
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
linnet_profiler.profile_all(open(sys.argv[1], "rb").read())
print(seconds, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
"""


def show(name: str, value: float, unit: str, goal: float) -> None:
    """Print one figure; it holds when it is at most the goal."""
    line = {"name": name, "value": round(value, 3), "unit": unit, "goal": goal, "ok": value <= goal}
    print(json.dumps(line), flush=True)


def median_ms(work: Callable[[], object]) -> float:
    """Median processor time of some work, after a first run."""
    work()
    taken = []
    for _ in range(ROUNDS):
        begun = time.process_time()
        work()
        taken.append((time.process_time() - begun) * 1e3)
    return statistics.median(taken)


def estimated(name: str) -> Callable[[], object]:
    """What the layer editor asks for: both variants of a preset on one board."""
    layers, shape = next((layers, shape) for known, layers, shape in networks() if known == name)
    board = find_target("nucleo-l4r5zi")

    def work() -> None:
        found = estimate(layers, shape, CLASSES)
        found.float32.profile(board)
        if found.int8 is not None:
            found.int8.profile(board)

    return work


def main() -> None:
    """Measure and print."""
    targets()
    for name, (model, goal) in MODELS.items():
        data = model_bytes(model)
        spent = median_ms(lambda data=data: profile_all(data))
        show(f"profiler: {name} on all targets", spent, "ms", goal)
    for name in PRESETS:
        show(f"profiler: estimate of {name}", median_ms(estimated(name)), "ms", 20.0)
    path = Path("/tmp") / "bench_profiler.tflite"
    path.write_bytes(model_bytes("published/vww_96_int8"))
    command = [sys.executable, "-c", IMPORT, str(path)]
    seconds, mebibytes = [], 0.0
    for _ in range(3):
        out = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
        seconds.append(float(out[0]))
        mebibytes = max(mebibytes, float(out[1]))
    path.unlink()
    show("profiler: import", statistics.median(seconds), "s", 0.5)
    show("profiler: memory", mebibytes, "MB", 150.0)


if __name__ == "__main__":
    main()
