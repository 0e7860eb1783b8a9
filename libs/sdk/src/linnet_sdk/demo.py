"""The demonstration: real sensor data from push to report, on whatever gateway it is given."""

import time
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from linnet.v1 import dataset_pb2, evaluation_pb2, run_pb2, training_service_pb2
from linnet_runtime.errors import NotFound

from linnet_sdk.client import Client
from linnet_sdk.datasets import Arrays
from linnet_sdk.names import short_name, state_word

RAW = "smartwatch-raw"
SPECTRAL = "smartwatch-spectral"
EXAMPLES = (RAW, SPECTRAL)
PRESET, SEED = "conv1d", 1

Follow = Callable[[str], run_pb2.Run]
Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of it.

    Attributes:
        run: The run's full name.
        state: Its final state.
        accuracy: Accuracy on the test subjects in [0, 1] by variant; None where it is not known.
        seconds: Wall time of all of it, and of fitting alone.
        artifacts: Where the run's files lie now, by name.
        report: Everything known of the run; None if it did not succeed.
    """

    run: str
    state: str
    accuracy: dict[str, float | None]
    seconds: dict[str, float]
    artifacts: dict[str, str]
    report: training_service_pb2.Report | None = field(repr=False)

    @property
    def succeeded(self) -> bool:
        """Whether there is a model."""
        return self.state == "SUCCEEDED"

    def as_json(self) -> dict[str, Any]:
        """Give the line that `linnet demo --json` ends with."""
        return {
            "run": self.run,
            "state": self.state,
            "accuracy": self.accuracy,
            "seconds": {name: round(value, 1) for name, value in self.seconds.items()},
            "artifacts": self.artifacts,
        }


def demonstrate(
    client: Client,
    examples: dict[str, "Future[Arrays]"],
    *,
    folder: Path,
    follow: Follow,
    say: Say,
    begun: float,
) -> Outcome:
    """Push the smartwatch recordings, train, and fetch report and artifacts.

    Args:
        client: Speaks to the gateway.
        examples: The datasets of `EXAMPLES`, being made.
        folder: Where the run's artifacts go, each run in a folder of its own.
        follow: Shows a run until it has ended.
        say: Tells a person what is done.
        begun: When all of it began, in seconds of `time.monotonic`.
    """
    for name in EXAMPLES:
        dataset = ensure_dataset(client, name, examples[name])
        say(f"{name}: {dataset.sample_count} samples, {dataset.group_count} subjects")
    run = run_pb2.Run(display_name="Demonstration: shoulder exercises from a smartwatch")
    run.spec.dataset = RAW
    run.spec.architecture.preset = PRESET
    run.spec.fit.seed = SEED
    created = client.create_run(run)
    say(f"{short_name(created.name)}: training the {PRESET} preset")
    ended = follow(created.name)
    report = client.report(ended.name) if ended.state == run_pb2.RUN_STATE_SUCCEEDED else None
    place = folder / short_name(ended.name)
    artifacts = {
        file.name: str(client.download(ended.name, file.name, place / file.name))
        for file in (ended.artifacts if report is not None else ())
    }
    return Outcome(
        run=ended.name,
        state=state_word(ended),
        accuracy=accuracy_on_test(report),
        seconds={
            "total": time.monotonic() - begun,
            "train": ended.summary.train_seconds,
        },
        artifacts=artifacts,
        report=report,
    )


def ensure_dataset(client: Client, name: str, arrays: "Future[Arrays]") -> dataset_pb2.Dataset:
    """Give the dataset of that id, pushed now if it is not ready there already."""
    try:
        found = client.get_dataset(name)
    except NotFound:
        return client.push(arrays.result(), dataset_id=name)
    if found.state == dataset_pb2.DATASET_STATE_READY:
        return found
    client.delete_dataset(name)  # an earlier push was broken off
    return client.push(arrays.result(), dataset_id=name)


def accuracy_on_test(report: training_service_pb2.Report | None) -> dict[str, float | None]:
    """Give the accuracy on the test rows by variant."""
    accuracy: dict[str, float | None] = {"float32": None, "int8": None}
    words = {run_pb2.VARIANT_FLOAT32: "float32", run_pb2.VARIANT_INT8: "int8"}
    for found in report.evaluation.sets if report is not None else ():
        if found.side == evaluation_pb2.SPLIT_SIDE_TEST and found.variant in words:
            accuracy[words[found.variant]] = round(found.scores.accuracy, 4)
    return accuracy
