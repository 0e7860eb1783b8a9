"""Trains a run again from its manifest and compares the weights, bit for bit."""

import hashlib
import json
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from google.protobuf.json_format import ParseError
from linnet.v1 import spec_pb2
from linnet_ml.spec import InputKind, TrainingSpec
from linnet_ml.wire import from_json
from linnet_runtime.errors import InvalidInput

from linnet_trainer.digests import file_digest
from linnet_trainer.fit import engine
from linnet_trainer.fit.epochs import Ending, EpochRecord
from linnet_trainer.local.files import LocalFiles, read_data
from linnet_trainer.startup import workshop


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a manifest.json says of how a run came to its weights.

    Attributes:
        spec: Every default filled in; without time limits, which depend on the machine.
        input_kind: What the features are.
        classes: Class names.
        epochs: Epochs trained, all fits together.
        ending: Why the training ended.
        weights_sha256: Digest of the exported weights.
        dataset_sha256: Digest of the dataset, as the run knew it.
        initial_model_sha256: Digest of the model.keras that it started from; None for none.
        versions: Packages that the bits depend on.
        cpu: CPU type.
    """

    spec: TrainingSpec
    input_kind: InputKind
    classes: tuple[str, ...]
    epochs: int
    ending: Ending
    weights_sha256: str
    dataset_sha256: str
    initial_model_sha256: str | None
    versions: dict[str, str]
    cpu: str


def read_manifest(path: Path) -> Manifest:
    """Read a manifest.json, or the one of a folder of artifacts.

    Raises:
        InvalidInput: It is none.
    """
    if path.is_dir():
        path /= "manifest.json"
    try:
        found = json.loads(path.read_text())
        dataset = found["dataset"]
        spec = from_json(TrainingSpec, json.dumps(found["spec"]), spec_pb2.TrainingSpec())
        return Manifest(
            spec=replace(
                spec,
                fit=replace(spec.fit, time_limit=None),
                resources=replace(spec.resources, deadline=None),
            ),
            input_kind=InputKind[dataset["input_kind"].upper()],
            classes=tuple(dataset["classes"]),
            epochs=int(found["epochs"]),
            ending=Ending(found["ending"]),
            weights_sha256=str(found["weights_sha256"]),
            dataset_sha256=str(dataset["sha256"]),
            initial_model_sha256=found["initial_model_sha256"],
            versions=dict(found["versions"]),
            cpu=str(found["cpu"]),
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError, ParseError) as error:
        raise InvalidInput.of(
            "MANIFEST", f"expected the manifest.json of a run: {type(error).__name__}: {error}"
        ) from error


@dataclass(frozen=True, slots=True)
class Reproduction:
    """How a second training compares with the first.

    Attributes:
        expected_sha256: Digest of the weights in the manifest.
        found_sha256: Digest of the weights trained here.
        differences: In what the circumstances differ, for a person.
    """

    expected_sha256: str
    found_sha256: str
    differences: tuple[str, ...]

    @property
    def equal(self) -> bool:
        """Whether the weights are equal, bit for bit."""
        return self.expected_sha256 == self.found_sha256

    def lines(self) -> list[str]:
        """Say it to a person."""
        if self.equal:
            return [f"The weights are equal, bit for bit: {self.found_sha256}.", *self.differences]
        why = "; ".join(self.differences) or (
            "data, versions and CPU type are the same: please report this as a defect"
        )
        return [
            f"The weights differ: {self.found_sha256} here, {self.expected_sha256} there.",
            f"Equal bits need the same data, versions and CPU type. {why}.",
        ]


def stored_digest(files: LocalFiles) -> str:
    """Give a gateway's digest of a dataset: over its files' digests, in order of name."""
    paths = [p for p in (files.features, files.labels, files.samples) if p is not None]
    return hashlib.sha256("".join(map(file_digest, paths)).encode()).hexdigest()


def differences(manifest: Manifest, dataset_digests: set[str]) -> tuple[str, ...]:
    """Name what is not here as it was there."""
    here = engine.versions()
    found = [
        f"{name} was {version} and is {here.get(name, 'missing')} here"
        for name, version in manifest.versions.items()
        if here.get(name) != version
    ]
    if manifest.cpu != engine.cpu_type():
        found.append(f"the CPU was {manifest.cpu!r} and is {engine.cpu_type()!r} here")
    if manifest.dataset_sha256 not in dataset_digests:
        found.append("the files given have another digest than the run's dataset")
    return tuple(found)


def reproduce(
    manifest: Manifest,
    files: LocalFiles,
    initial_model: Path | None,
    say: Callable[[str], None],
) -> Reproduction:
    """Train again and compare.

    Args:
        manifest: The run.
        files: Its dataset.
        initial_model: The model.keras that it started from, if it did.
        say: Gets every line of output.

    Raises:
        InvalidInput: The data are others, or the run can't be reproduced.
        LinnetError: The training failed.
    """
    found = None if initial_model is None else file_digest(initial_model)
    if manifest.initial_model_sha256 != found:
        raise InvalidInput.of(
            "--initial-model",
            f"expected the model.keras that the run started from, of SHA-256 "
            f"{manifest.initial_model_sha256}, received {found}",
        )
    cut = not manifest.spec.fit.keep_best or not manifest.epochs
    if manifest.ending is Ending.TIME_LIMIT and cut:
        raise InvalidInput.of(
            "MANIFEST",
            "expected weights of the end of an epoch, received a run that its time limit ended in "
            "the middle of one, in its first epoch or without keep_best",
        )
    data = read_data(files, manifest.input_kind, manifest.classes, manifest.spec)
    events = _Events(manifest, say)
    with workshop() as shop, tempfile.TemporaryDirectory(prefix="linnet-reproduce-") as folder:
        from linnet_trainer.run_contract import RunOrder
        from linnet_trainer.train_one import train_one

        order = RunOrder("reproduced", 1, manifest.spec, data, initial_model=initial_model)
        outcome = train_one(shop, order, events, Path(folder))
    digest = "" if outcome.figures is None else outcome.figures.weights_sha256
    others = differences(manifest, {data.digest, stored_digest(files)})
    return Reproduction(manifest.weights_sha256, digest, others)


class _Events:
    """Shows lines, and ends a run where its time limit ended it the first time."""

    def __init__(self, manifest: Manifest, say: Callable[[str], None]) -> None:
        self._limit = manifest.epochs if manifest.ending is Ending.TIME_LIMIT else None
        self._say = say
        self._epochs = 0

    def line(self, text: str, *, warning: bool = False) -> None:
        self._say(f"Warning: {text}" if warning else text)

    def epoch(self, _record: EpochRecord, line: str, _ratio: float) -> None:
        self._epochs += 1
        self._say(line)

    def ratio(self, ratio: float) -> None:
        self._say(f"{ratio:.1%} done")

    def exporting(self) -> None:
        """Export as well: it costs little, and the lines stay those of the run."""

    def interruption(self) -> Ending | None:
        over = self._limit is not None and self._epochs >= self._limit
        return Ending.TIME_LIMIT if over else None

    def checkpoint(self, stored: Callable[[int], bytes]) -> None:
        """Keep none: a reproduction begins anew."""

    def used(self, seconds: float) -> None:
        """Count no time."""


def as_json(result: Reproduction) -> dict[str, Any]:
    """Give the document that --json prints."""
    return {
        "equal": result.equal,
        "expected_sha256": result.expected_sha256,
        "found_sha256": result.found_sha256,
        "differences": list(result.differences),
    }
