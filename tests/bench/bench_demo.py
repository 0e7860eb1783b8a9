"""`linnet demo` as a newcomer runs it: seconds, accuracy on unseen people, the gateway's footprint.

Goals are those of the first milestone, for two cores of their own.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from linnet_sdk.local.home import Home

TOTAL_S = 60.0
ACCURACY = 0.70
INT8_DROP = 0.02
GATEWAY_BYTES = 170_000_000
GATEWAY_START_S = 2.0


def tell(name: str, value: float, unit: str, goal: str, *, ok: bool) -> None:
    line = {"name": name, "value": round(value, 4), "unit": unit, "goal": goal, "ok": ok}
    print(json.dumps(line), flush=True)


def resident_bytes(pid: int) -> int:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    return 0


def run(home: Path) -> tuple[dict, int, float]:
    """Run the demo and give its result, the gateway's peak memory and its seconds to serve."""
    inherited = {k: v for k, v in os.environ.items() if not k.startswith("LINNET_")}
    process = subprocess.Popen(
        [sys.executable, "-m", "linnet_sdk", "demo", "--json", "--home", str(home)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=inherited,
    )
    assert process.stderr is not None
    assert process.stdout is not None
    peak_bytes, start_s = 0, 0.0
    for line in process.stderr:
        if line.startswith("gateway serves"):
            start_s = float(line.split()[-2])
        for known in Home(home).recorded_processes():
            if known.name == "gateway" and known.is_alive():
                peak_bytes = max(peak_bytes, resident_bytes(known.pid))
    last = process.stdout.read().splitlines()[-1]
    assert process.wait() == 0
    return json.loads(last), peak_bytes, start_s


def main() -> None:
    """Run the demo once in a fresh home and print its figures."""
    with tempfile.TemporaryDirectory(prefix="linnet-bench-") as folder:
        begun = time.monotonic()
        told, peak_bytes, start_s = run(Path(folder) / "home")
        wall_s = time.monotonic() - begun
    float32, int8 = told["accuracy"]["float32"], told["accuracy"]["int8"]
    drop = abs(float32 - int8)
    tell("demo_total", wall_s, "s", f"<= {TOTAL_S}", ok=wall_s <= TOTAL_S)
    tell("demo_train", told["seconds"]["train"], "s", "", ok=True)
    tell("demo_accuracy_float32", float32, "1", f">= {ACCURACY}", ok=float32 >= ACCURACY)
    tell("demo_accuracy_int8", int8, "1", f"within {INT8_DROP}", ok=drop <= INT8_DROP)
    tell(
        "gateway_peak_rss", peak_bytes, "bytes", f"< {GATEWAY_BYTES}", ok=peak_bytes < GATEWAY_BYTES
    )
    tell("gateway_start", start_s, "s", f"< {GATEWAY_START_S}", ok=start_s < GATEWAY_START_S)


if __name__ == "__main__":
    main()
