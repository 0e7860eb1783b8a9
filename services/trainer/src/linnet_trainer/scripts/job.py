"""Runs an expert script's training in a child: the child's side."""

import json
import math
import os
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from linnet.v1 import spec_pb2
from linnet_ml import datasets
from linnet_ml.spec import InputKind, TrainingSpec
from linnet_ml.wire import from_json
from linnet_runtime.errors import InvalidInput, LinnetError
from numpy.typing import NDArray

from linnet_trainer.export.export_job import check, export
from linnet_trainer.file_names import KERAS
from linnet_trainer.fit import engine
from linnet_trainer.fit.epochs import Ending, EpochRecord
from linnet_trainer.run_contract import Diverged, Outcome, RunOrder
from linnet_trainer.run_data import RunData
from linnet_trainer.scripts.confinement import confine
from linnet_trainer.scripts.errors import ScriptFailed, ScriptOutOfMemory
from linnet_trainer.scripts.network import ScriptNetwork, export_script
from linnet_trainer.scripts.printing import Lines, past_python
from linnet_trainer.scripts.source import failure
from linnet_trainer.training import Trainer
from linnet_trainer.zygote import Zygote

_FREE_TO_READ = (
    "This machine's kernel has no Landlock and the trainer is not root: the script can read what "
    "the trainer's user can."
)
Send = Callable[[Mapping[str, Any]], None]

DEFAULT_MEMORY_BYTES = 8 << 30
"""Address space on top of what TensorFlow has mapped, where the spec names no memory."""
JUDGED_ROWS = 8
"""Rows by which a script's model is judged before it is trained."""
GIVEN, SAVED = "given", "saved.npz"
"""Folder of what the trainer gives, and file of the checkpoint that it takes back."""


def run_script(arguments: Mapping[str, Any], send: Send) -> Mapping[str, Any]:
    """Train a script's network and write its artifacts.

    Args:
        arguments: What `script_run.train_script` passes.
        send: Sends an event to the parent.

    Returns:
        `ending` and `figures`, or `failed`.
    """
    # The dataset lies with the trainer's other files, out of the script's reach from here on.
    features = datasets.load_features(Path(arguments["features"]))
    folder = Path(arguments["folder"])
    memory_bytes = int(arguments["memory_bytes"]) or DEFAULT_MEMORY_BYTES
    _leave_streams()
    # Children that export run the script's code too: each confines itself, to the same folder
    # whatever it is told.
    children = Zygote(
        {"export": export, "export_script": export_script, "check": check},
        prepare=lambda: confine(folder, memory_bytes),
    )
    held = confine(folder, memory_bytes)
    os.chdir(folder)
    engine.set_threads()
    events = _Events(send, folder)
    lines = sys.stdout = sys.stderr = Lines(events.line)
    if not held.files_kept:
        events.line(_FREE_TO_READ, warning=True)
    with past_python(events.line):
        try:
            outcome = _train(arguments, features, children, events)
        except BaseException as error:  # noqa: BLE001 - all that a script can do ends here
            return {"failed": _failed(error)}
        finally:
            lines.end()
            children.close()
    figures = None if outcome.figures is None else json.dumps(asdict(outcome.figures))
    return {"ending": outcome.ending.value, "figures": figures}


def _train(
    arguments: Mapping[str, Any], features: NDArray[Any], children: Zygote, events: "_Events"
) -> Outcome:
    folder = Path(arguments["folder"])
    given = folder / GIVEN
    spec = from_json(TrainingSpec, (given / "spec.json").read_text(), spec_pb2.TrainingSpec())
    labels = datasets.load_labels(given / "labels.npy")
    data = RunData(
        InputKind(arguments["input_kind"]),
        tuple(arguments["classes"]),
        features,
        labels,
        datasets.load_samples(given / "samples.npz", labels.size),
        arguments["digest"],
        Path(arguments["features"]),
    )
    checkpoint = given / "checkpoint.npz"
    initial = given / KERAS
    order = RunOrder(
        name=arguments["name"],
        attempt=arguments["attempt"],
        spec=spec,
        data=data,
        seconds_used=arguments["seconds_used"],
        checkpoint=checkpoint.read_bytes() if checkpoint.exists() else None,
        initial_model=initial if initial.exists() else None,
    )
    source = spec.architecture.script or ""
    rows = np.asarray(features[:JUDGED_ROWS], np.float32)
    network = ScriptNetwork(source, rows, len(data.classes), children)
    return Trainer(time.monotonic).train(order, network, events, folder)


def _leave_streams() -> None:
    """Leave the trainer its output, and take an input that has ended: nobody answers a script."""
    os.dup2(2, 1)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)


def _failed(error: BaseException) -> dict[str, Any]:
    if isinstance(error, ScriptOutOfMemory):
        return {"kind": "memory", "message": error.message}
    if isinstance(error, ScriptFailed):
        return {"kind": "script", "message": error.message}
    if isinstance(error, InvalidInput):
        found = [{"field": v.field, "description": v.description} for v in error.violations]
        return {"kind": "invalid", "message": error.message, "violations": found}
    if isinstance(error, Diverged):
        return {"kind": "diverged", "message": error.message}
    if isinstance(error, LinnetError):
        return {"kind": "internal", "message": error.message}
    # What a layer of the script raises while it is traced comes out here.
    told = failure(error)
    kind = "memory" if isinstance(told, ScriptOutOfMemory) else "script"
    return {"kind": kind, "message": told.message}


class _Events:
    """Sends a run's events to the parent."""

    def __init__(self, send: Send, folder: Path) -> None:
        self._send = send
        self._saved = folder / SAVED

    def line(self, text: str, *, warning: bool = False) -> None:
        self._send({"kind": "line", "text": text, "warning": warning})

    def epoch(self, record: EpochRecord, line: str, ratio: float) -> None:
        values = {
            k: repr(v) if isinstance(v, float) and not math.isfinite(v) else v
            for k, v in record.to_dict().items()
        }
        self._send({"kind": "epoch", "record": values, "line": line, "ratio": ratio})

    def ratio(self, ratio: float) -> None:
        self._send({"kind": "ratio", "ratio": ratio})

    def exporting(self) -> None:
        self._send({"kind": "exporting"})

    def interruption(self) -> Ending | None:
        """The parent ends this process when the run must end."""
        return None

    def checkpoint(self, stored: Callable[[int], bytes]) -> None:
        fresh = self._saved.with_suffix(".new")
        fresh.write_bytes(stored(0))
        fresh.replace(self._saved)
        self._send({"kind": "checkpoint"})

    def used(self, seconds: float) -> None:
        self._send({"kind": "used", "seconds": seconds})
