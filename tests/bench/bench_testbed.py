"""The testbed: from `up` with everything built to a Ready node, and from `down` to nothing."""

from __future__ import annotations

import json
import statistics
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "cluster"))

from testbed import build
from testbed.cluster import START_PROGRAMS, Cluster

READY_S = 15.0
DOWN_S = 5.0
ROUNDS = 3


def main() -> int:
    """Print one line a figure and return 1 if one misses its goal."""
    cluster = Cluster.of("bench")
    for program in START_PROGRAMS:
        build.folder(program, cluster.places.cache)
    starts, stops = [], []
    for _ in range(ROUNDS):
        cluster.down()
        began = time.monotonic()
        cluster.up(lambda _: None)
        starts.append(time.monotonic() - began)
        began = time.monotonic()
        cluster.down()
        stops.append(time.monotonic() - began)
    figures = [
        ("testbed_warm_start_s", statistics.median(starts), READY_S),
        ("testbed_stop_s", statistics.median(stops), DOWN_S),
    ]
    for name, value, goal in figures:
        line = {"name": name, "value": round(value, 2), "unit": "s", "goal": goal}
        print(json.dumps({**line, "ok": value <= goal}))
    return int(any(value > goal for _, value, goal in figures))


if __name__ == "__main__":
    sys.exit(main())
