"""Leave-one-subject-out: the conv1d preset trained ten times, each time judged on another person.

The person left out is the test set; the epoch is chosen on validation people among the other nine,
so nothing about the judged person is known to the training. Prints each person and the mean.
"""

import asyncio
import dataclasses
import json
import statistics
import sys
import tempfile
from pathlib import Path

from linnet.v1 import run_pb2
from linnet_sdk import Client, examples
from linnet_sdk.demo import PRESET, accuracy_on_test
from linnet_sdk.local.home import Home
from linnet_sdk.local.mode import LocalMode

DATASET = "smartwatch-all"


def judge(client: Client, subject: str) -> dict[str, float | None]:
    """Train without a person and give the accuracy on that person by variant."""
    run = run_pb2.Run(display_name=f"without {subject}")
    run.spec.dataset = DATASET
    run.spec.architecture.preset = PRESET
    run.spec.split.test_groups.append(subject)
    created = client.create_run(run)
    *_, last = client.watch(created.name)
    assert last.run.state == run_pb2.RUN_STATE_SUCCEEDED, last.run
    return accuracy_on_test(client.report(created.name))


def everyone(client: Client) -> None:
    """Judge on each person and print the mean."""
    arrays = examples.load("smartwatch-raw")
    client.push(dataclasses.replace(arrays, test=None), dataset_id=DATASET)
    found: dict[str, list[float]] = {"float32": [], "int8": []}
    for subject in sorted(set(arrays.groups or ())):
        accuracy = judge(client, subject)
        for variant, values in found.items():
            values.append(accuracy[variant] or 0.0)
        line = {"name": f"accuracy_{subject}", "value": accuracy["float32"], "unit": "1"}
        print(json.dumps(line | {"goal": "", "ok": True}), flush=True)
    for variant, values in found.items():
        mean = round(statistics.mean(values), 4)
        line = {"name": f"accuracy_mean_{variant}", "value": mean, "unit": "1"}
        print(json.dumps(line | {"goal": "", "ok": True}), flush=True)


async def main() -> None:
    """Run it on a local mode of its own."""
    with tempfile.TemporaryDirectory(prefix="linnet-bench-") as folder:
        home = Home(Path(folder) / "home")
        async with LocalMode(home, on_event=lambda e: print(e, file=sys.stderr)) as mode:
            with Client(mode.endpoints.server) as client:
                await asyncio.to_thread(everyone, client)


if __name__ == "__main__":
    asyncio.run(main())
