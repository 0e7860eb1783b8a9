"""Runs an expert script's training in a child: the parent's side.

The child has no token in its environment and no open connection; it sends lines and epochs as JSON
and leaves artifacts in a folder, which the parent reads as plain files only.
"""

import json
import math
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from linnet.v1 import spec_pb2
from linnet_ml import npy
from linnet_ml.samples import samples_bytes
from linnet_ml.wire import to_json
from linnet_runtime.errors import Internal, InvalidInput, Violation

from linnet_trainer.epochs import Ending, EpochRecord
from linnet_trainer.file_names import ARTIFACTS
from linnet_trainer.script_errors import ScriptFailed
from linnet_trainer.training import Diverged, Outcome, RunEvents, RunFigures, RunOrder
from linnet_trainer.zygote import Call, ChildLost, Zygote

LONGEST_S = 7 * 24 * 3600.0


def train_script(children: Zygote, order: RunOrder, events: RunEvents, folder: Path) -> Outcome:
    """Train an order whose architecture is a script.

    Raises:
        ScriptFailed: The script raised or ended its process.
        InvalidInput: The spec does not fit the data.
        Diverged: No epoch had a finite loss.
    """
    given = folder / "given"
    given.mkdir()
    (given / "spec.json").write_text(to_json(order.spec, spec_pb2.TrainingSpec))
    (given / "labels.npy").write_bytes(npy.to_bytes(order.data.labels))
    (given / "samples.npz").write_bytes(samples_bytes(order.data.samples))
    if order.checkpoint is not None:
        (given / "checkpoint.npz").write_bytes(order.checkpoint)
    arguments = {
        "folder": str(folder),
        "features": str(order.data.features_path.resolve()),
        "initial_model": str(order.initial_model.resolve()) if order.initial_model else "",
        "name": order.name,
        "attempt": order.attempt,
        "seconds_used": order.seconds_used,
        "input_kind": int(order.data.input_kind),
        "classes": list(order.data.classes),
        "digest": order.data.digest,
        "memory_bytes": order.spec.resources.memory_bytes,
    }
    relay = _Relay(events, folder)
    try:
        result = children.call(Call("script", arguments, LONGEST_S, reused=False), relay.take)
    except ChildLost as lost:
        if relay.ending is not None:
            return Outcome(relay.ending)
        raise ScriptFailed(f"The script's process ended: {lost.reason}.") from lost
    finally:
        shutil.rmtree(given, ignore_errors=True)
    return _outcome(result, folder)


class _Relay:
    """Passes a child's events on and ends it when the run must end."""

    def __init__(self, events: RunEvents, folder: Path) -> None:
        self._events = events
        self._checkpoint = folder / "given" / "saved.npz"
        self.ending: Ending | None = None

    def take(self, event: Mapping[str, Any]) -> bool:
        kind = event.get("kind")
        passing: dict[Any, Callable[[], None]] = {
            "line": lambda: self._events.line(
                str(event["text"])[:10_000], warning=bool(event.get("warning"))
            ),
            "epoch": lambda: self._events.epoch(
                EpochRecord(**{k: _back(v) for k, v in event["record"].items()}),
                str(event["line"])[:1000],
                float(event["ratio"]),
            ),
            "ratio": lambda: self._events.ratio(float(event["ratio"])),
            "exporting": self._events.exporting,
            "used": lambda: self._events.used(float(event["seconds"])),
            "checkpoint": self._save,
        }
        if kind in passing:
            passing[kind]()
        self.ending = self._events.interruption()
        return self.ending is None

    def _save(self) -> None:
        stored = _plain_bytes(self._checkpoint)
        if stored is not None:
            self._events.checkpoint(lambda _sequence: stored)


def _plain_bytes(path: Path) -> bytes | None:
    """Read a file unless it is a link or no file: the script may have put anything there."""
    if path.is_symlink() or not path.is_file():
        return None
    return path.read_bytes()


def _back(value: Any) -> Any:
    """Read a number that JSON can't carry back."""
    return float(value) if value in {"nan", "inf", "-inf"} else value


def _outcome(result: Mapping[str, Any], folder: Path) -> Outcome:
    failed = result.get("failed")
    if failed is not None:
        message = str(failed["message"])
        if failed["kind"] == "script":
            raise ScriptFailed(message)
        if failed["kind"] == "invalid":
            raise InvalidInput(
                [Violation(str(v["field"]), str(v["description"])) for v in failed["violations"]]
            )
        if failed["kind"] == "diverged":
            raise Diverged(message)
        raise Internal(message)
    ending = Ending(result["ending"])
    if ending.is_interruption:
        return Outcome(ending)
    files = tuple(name for name in ARTIFACTS if _plain_bytes(folder / name) is not None)
    figures = json.loads(result["figures"])
    figures["warnings"] = tuple(str(w) for w in figures["warnings"])
    seconds = float(figures["train_seconds"])
    figures["train_seconds"] = seconds if math.isfinite(seconds) else 0.0
    return Outcome(ending, RunFigures(**figures), files)
