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


def without(subject: str) -> run_pb2.Run:
    """Make the run that trains without a person and is judged on that person."""
    run = run_pb2.Run(display_name=f"without {subject}", labels={"subject": subject})
    run.spec.dataset = DATASET
    run.spec.architecture.preset = PRESET
    run.spec.split.test_groups.append(subject)
    return run


def everyone(client: Client) -> None:
    """Judge on each person and print the mean."""
    arrays = examples.load("smartwatch-raw")
    client.push(dataclasses.replace(arrays, test=None), dataset_id=DATASET)
    subjects = sorted(set(arrays.groups or ()))
    *_, created = client.batches.create([without(subject) for subject in subjects])
    for response in client.batches.watch(created.batch.name):
        print(f"{response.batch.run_counts}", file=sys.stderr)
    found: dict[str, list[float]] = {"float32": [], "int8": []}
    for run in sorted(client.list_runs(), key=lambda run: run.labels["subject"]):
        assert run.state == run_pb2.RUN_STATE_SUCCEEDED, run
        accuracy = accuracy_on_test(client.report(run.name))
        for variant, values in found.items():
            values.append(accuracy[variant] or 0.0)
        tell(f"accuracy_{run.labels['subject']}", accuracy["float32"] or 0.0)
    for variant, values in found.items():
        tell(f"accuracy_mean_{variant}", statistics.mean(values))


def tell(name: str, value: float) -> None:
    """Print a figure; it has no goal of its own."""
    line = {"name": name, "value": round(value, 4), "unit": "1", "goal": "", "ok": True}
    print(json.dumps(line), flush=True)


async def main() -> None:
    """Run it on a local mode of its own."""
    with tempfile.TemporaryDirectory(prefix="linnet-bench-") as folder:
        home = Home(Path(folder) / "home")
        async with LocalMode(home, on_event=lambda e: print(e, file=sys.stderr)) as mode:
            with Client(mode.endpoints.server) as client:
                await asyncio.to_thread(everyone, client)


if __name__ == "__main__":
    asyncio.run(main())
