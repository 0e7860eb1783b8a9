"""Runs an expert script's training in a child: the child's side."""

import io
import json
import math
import os
import resource
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from linnet.v1 import spec_pb2
from linnet_ml import datasets
from linnet_ml.spec import InputKind, TrainingSpec
from linnet_ml.wire import from_json
from linnet_runtime.errors import InvalidInput, LinnetError

from linnet_trainer import engine
from linnet_trainer.epochs import Ending, EpochRecord
from linnet_trainer.export_job import check
from linnet_trainer.run_data import RunData
from linnet_trainer.script_errors import ScriptFailed
from linnet_trainer.script_network import ScriptNetwork, export_script
from linnet_trainer.training import Diverged, Outcome, RunOrder, Trainer
from linnet_trainer.zygote import Zygote

_RETURN = chr(13)
"""What a progress bar rewrites its line with."""
Send = Callable[[Mapping[str, Any]], None]

DEFAULT_MEMORY_BYTES = 8 << 30
"""Address space on top of what TensorFlow has mapped, where the spec names no memory."""
MOST_FILE_BYTES = 4 << 30
MOST_OPEN_FILES = 1024
MOST_PROCESSES = 4096
_KEPT_VARIABLES = ("PATH", "LANG", "LC_ALL", "HOME", "KERAS_HOME", "KERAS_BACKEND", "TMPDIR")


def run_script(arguments: Mapping[str, Any], send: Send) -> Mapping[str, Any]:
    """Train a script's network and write its artifacts.

    Args:
        arguments: What `script_run.train_script` passes.
        send: Sends an event to the parent.

    Returns:
        `ending` and `figures`, or `failed`.
    """
    _confine(int(arguments["memory_bytes"]) or DEFAULT_MEMORY_BYTES)
    folder = Path(arguments["folder"])
    os.chdir(folder)
    children = Zygote({"export_script": export_script, "check": check})
    engine.set_threads()
    sys.stdout = sys.stderr = _Lines(send)
    try:
        outcome = _train(arguments, folder, children, _Events(send, folder))
    except Exception as error:  # noqa: BLE001 - all that a script can do ends here
        return {"failed": _failed(error)}
    finally:
        sys.stdout.flush()
        children.close()
    figures = None if outcome.figures is None else json.dumps(asdict(outcome.figures))
    return {"ending": outcome.ending.value, "figures": figures}


def _confine(memory_bytes: int) -> None:
    """Take away the environment and set limits; what is mapped already does not count."""
    for name in list(os.environ):
        if name not in _KEPT_VARIABLES:
            del os.environ[name]
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
    mapped = pages * os.sysconf("SC_PAGE_SIZE")
    for kind, most in (
        (resource.RLIMIT_AS, mapped + memory_bytes),
        (resource.RLIMIT_FSIZE, MOST_FILE_BYTES),
        (resource.RLIMIT_NOFILE, MOST_OPEN_FILES),
        (resource.RLIMIT_NPROC, MOST_PROCESSES),
        (resource.RLIMIT_CORE, 0),
    ):
        _, hard = resource.getrlimit(kind)
        limit = most if hard == resource.RLIM_INFINITY else min(most, hard)
        resource.setrlimit(kind, (limit, limit))


def _train(
    arguments: Mapping[str, Any], folder: Path, children: Zygote, events: "_Events"
) -> Outcome:
    given = folder / "given"
    spec = from_json(TrainingSpec, (given / "spec.json").read_text(), spec_pb2.TrainingSpec())
    features = Path(arguments["features"])
    labels = datasets.load_labels(given / "labels.npy")
    data = RunData(
        InputKind(arguments["input_kind"]),
        tuple(arguments["classes"]),
        datasets.load_features(features),
        labels,
        datasets.load_samples(given / "samples.npz", labels.size),
        arguments["digest"],
        features,
    )
    checkpoint = given / "checkpoint.npz"
    initial = arguments["initial_model"]
    order = RunOrder(
        name=arguments["name"],
        attempt=arguments["attempt"],
        spec=spec,
        data=data,
        seconds_used=arguments["seconds_used"],
        checkpoint=checkpoint.read_bytes() if checkpoint.exists() else None,
        initial_model=Path(initial) if initial else None,
    )
    source = spec.architecture.script or ""
    network = ScriptNetwork(source, data.input_shape, len(data.classes), children)
    return Trainer(time.monotonic).train(order, network, events, folder)


def _failed(error: Exception) -> dict[str, Any]:
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
    from linnet_trainer.script_source import cut

    return {"kind": "script", "message": cut(error)}


class _Lines(io.TextIOBase):
    """Sends whole lines that the script prints as events."""

    def __init__(self, send: Send) -> None:
        super().__init__()
        self._send = send
        self._rest = ""

    def writable(self) -> bool:
        """Say that it can be written to."""
        return True

    def write(self, text: str) -> int:
        """Take text; a line goes when it is whole, as a progress bar left it."""
        *whole, self._rest = (self._rest + text).split("\n")
        for line in whole:
            self._send({"kind": "line", "text": line.rsplit(_RETURN, 1)[-1]})
        return len(text)

    def flush(self) -> None:
        """Do nothing: half a line waits for its end."""


class _Events:
    """Sends a run's events to the parent."""

    def __init__(self, send: Send, folder: Path) -> None:
        self._send = send
        self._saved = folder / "given" / "saved.npz"

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
