"""Runs an expert script's training in a child: the parent's side.

The child gives up its rights before it runs the script, see `confinement`. It sends lines and
epochs as JSON and leaves artifacts in a folder of its own; both are a stranger's word: checked,
bounded, and read as plain files only.
"""

import json
import math
import os
import shutil
import stat
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from linnet.v1 import spec_pb2
from linnet_ml import npy
from linnet_ml.samples import samples_bytes
from linnet_ml.wire import to_json
from linnet_runtime.errors import Internal, InvalidInput, Violation

from linnet_trainer.file_names import ARTIFACTS, KERAS, MANIFEST
from linnet_trainer.fit.epochs import Ending, EpochRecord
from linnet_trainer.run_contract import (
    Diverged,
    Outcome,
    RunEvents,
    RunFigures,
    RunOrder,
    time_limit_seconds,
)
from linnet_trainer.scripts.confinement import MOST_FILE_BYTES, make_folder
from linnet_trainer.scripts.errors import ScriptFailed, ScriptOutOfMemory, ScriptTooSlow
from linnet_trainer.scripts.job import GIVEN, SAVED
from linnet_trainer.scripts.printing import LONGEST_LINE
from linnet_trainer.zygote import Call, ChildLost, Zygote

_SIGKILL = 9
LONGEST_S = 7 * 24 * 3600.0
OVERTIME_S = 30.0
"""How long a script may go on after its time limit, to end an epoch or a step."""
EXPORT_S = 1800.0
"""How long it may take to export after that."""
MOST_LINES = 20_000
"""Lines that a script may print; what comes after is left out, and a warning says so."""
MOST_EPOCHS = 1_000_000
"""Epochs that a script may tell, all fits together; the gateway takes no more entries."""
MOST_WARNINGS = 100
LONGEST_EPOCH_LINE = 1000
LEAST_RATIO_SECONDS = 0.5
"""Shortest time between two reports of progress; what a script's fit gives is a second."""
_MOST_COUNT = 1 << 31
_FORGED = (TypeError, ValueError, KeyError, AttributeError, OverflowError, RecursionError)
"""What reading a message raises that is none."""


def train_script(children: Zygote, order: RunOrder, events: RunEvents, folder: Path) -> Outcome:
    """Train an order whose architecture is a script.

    A script that does not end in time is killed; the best model of its last checkpoint is exported.

    Raises:
        ScriptFailed: The script raised or ended its process.
        ScriptOutOfMemory: It wanted more memory than the run has.
        ScriptTooSlow: It did not end in time and left no checkpoint.
        InvalidInput: The spec does not fit the data.
        Diverged: No epoch had a finite loss.
    """
    limit_s = time_limit_seconds(order.spec)
    relay = _Relay(events, limit_s - order.seconds_used)
    try:
        return _attempt(children, order, relay, folder)
    except ChildLost as lost:
        if relay.ending is not None:
            return Outcome(relay.ending)
        if not relay.late:
            raise _lost(lost) from lost
    message = f"The script did not end within its time limit of {limit_s:.0f} s"
    if relay.saved is None:
        raise ScriptTooSlow(f"{message} and no epoch had ended.")
    events.line(f"{message}; the best epoch of its last checkpoint is exported.", warning=True)
    again = replace(order, checkpoint=relay.saved, seconds_used=limit_s)
    relay = _Relay(events, 0.0)
    try:
        return _attempt(children, again, relay, folder)
    except ChildLost as lost:
        if relay.ending is not None:
            return Outcome(relay.ending)
        raise ScriptTooSlow(f"{message}, nor could its model be exported.") from lost


def _attempt(children: Zygote, order: RunOrder, relay: "_Relay", folder: Path) -> Outcome:
    work = Path(tempfile.mkdtemp(prefix="linnet-script-"))
    try:
        make_folder(work)
        _give(order, work / GIVEN)
        arguments = {
            "folder": str(work),
            "features": str(order.data.features_path.resolve()),
            "name": order.name,
            "attempt": order.attempt,
            "seconds_used": order.seconds_used,
            "input_kind": int(order.data.input_kind),
            "classes": list(order.data.classes),
            "digest": order.data.digest,
            "memory_bytes": order.spec.resources.memory_bytes,
        }
        relay.checkpoint = work / SAVED
        call = Call("script", arguments, LONGEST_S, reused=False)
        return _outcome(children.call(call, relay.take), work, folder)
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _give(order: RunOrder, given: Path) -> None:
    given.mkdir(mode=0o755)
    (given / "spec.json").write_text(to_json(order.spec, spec_pb2.TrainingSpec))
    (given / "labels.npy").write_bytes(npy.to_bytes(order.data.labels))
    (given / "samples.npz").write_bytes(samples_bytes(order.data.samples))
    if order.checkpoint is not None:
        (given / "checkpoint.npz").write_bytes(order.checkpoint)
    if order.initial_model is not None:
        shutil.copyfile(order.initial_model, given / KERAS)


def _lost(lost: ChildLost) -> ScriptFailed | ScriptOutOfMemory:
    if lost.signal == _SIGKILL:
        return ScriptOutOfMemory(
            "The script's process was killed from outside; the usual cause is that it needs more "
            "memory than its run has."
        )
    return ScriptFailed(f"The script's process ended: {lost.reason}.")


class _Relay:
    """Passes a child's events on and ends it when the run must end."""

    def __init__(self, events: RunEvents, seconds_left: float) -> None:
        self._events = events
        self._over = time.monotonic() + max(0.0, seconds_left) + OVERTIME_S
        self._lines = self._epochs = 0
        self._cut = False
        self._told = -math.inf
        self.checkpoint = Path()
        self.ending: Ending | None = None
        self.late = False
        self.saved: bytes | None = None

    def take(self, event: Mapping[str, Any]) -> bool:
        kind = event.get("kind")
        passing: dict[Any, Callable[[], None]] = {
            "line": lambda: self._line(event),
            "epoch": lambda: self._epoch(event),
            "ratio": lambda: self._ratio(event),
            "exporting": self._exporting,
            "used": lambda: self._events.used(_seconds(event["seconds"])),
            "checkpoint": self._save,
        }
        if kind in passing:
            try:
                passing[kind]()
            except _FORGED as error:
                raise ScriptFailed(
                    f"The script's process sent an event that is none: {error}"
                ) from error
        self.ending = self._events.interruption()
        self.late = time.monotonic() > self._over
        return self.ending is None and not self.late

    def _line(self, event: Mapping[str, Any]) -> None:
        # A form feed ends a line too.
        for text in _text(event["text"]).splitlines() or [""]:
            self._lines += 1
            if self._lines > MOST_LINES:
                break
            self._events.line(text, warning=bool(event.get("warning")))
        if self._lines > MOST_LINES and not self._cut:
            self._cut = True
            text = f"The script has printed {MOST_LINES} lines; further ones are left out."
            self._events.line(text, warning=True)

    def _epoch(self, event: Mapping[str, Any]) -> None:
        self._epochs += 1
        if self._epochs > MOST_EPOCHS:
            raise ValueError(f"expected at most {MOST_EPOCHS} epochs")
        record = EpochRecord.checked({k: _back(v) for k, v in event["record"].items()})
        self._events.epoch(record, _text(event["line"], LONGEST_EPOCH_LINE), _share(event["ratio"]))

    def _ratio(self, event: Mapping[str, Any]) -> None:
        now = time.monotonic()
        if now - self._told >= LEAST_RATIO_SECONDS:
            self._told = now
            self._events.ratio(_share(event["ratio"]))

    def _exporting(self) -> None:
        self._over += EXPORT_S
        self._events.exporting()

    def _save(self) -> None:
        stored = _plain_bytes(self.checkpoint)
        if stored is not None:
            self.saved = stored
            self._events.checkpoint(lambda _sequence: stored)


def _plain_bytes(path: Path) -> bytes | None:
    """Read a file unless it is a link, no file or too large; a script may put anything there."""
    try:
        opened = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return None
    with os.fdopen(opened, "rb") as file:
        found = os.fstat(opened)
        if not stat.S_ISREG(found.st_mode) or found.st_size > MOST_FILE_BYTES:
            return None
        return file.read(MOST_FILE_BYTES)


def _share(value: Any) -> float:
    return min(1.0, max(0.0, float(value)))


def _seconds(value: Any) -> float:
    seconds = float(value)
    return seconds if math.isfinite(seconds) and seconds >= 0 else 0.0


def _back(value: Any) -> Any:
    """Read a number that JSON can't carry back."""
    return float(value) if value in {"nan", "inf", "-inf"} else value


def _outcome(result: Mapping[str, Any], work: Path, folder: Path) -> Outcome:
    failed = result.get("failed")
    try:
        if isinstance(failed, dict):
            raise _failure(failed)
        ending = Ending(result["ending"])
        if ending.is_interruption:
            return Outcome(ending)
        figures = _figures(json.loads(result["figures"]))
    except _FORGED as error:
        raise ScriptFailed(f"The script's process sent a result that is none: {error}") from error
    files = []
    for name in ARTIFACTS:
        data = _plain_bytes(work / name)
        if data is not None:
            (folder / name).write_bytes(data)
            files.append(name)
    if MANIFEST not in files:
        raise ScriptFailed("The script's process ended without a manifest.")
    return Outcome(ending, figures, tuple(files))


def _failure(failed: Mapping[str, Any]) -> Exception:
    message = _text(failed["message"])
    if failed["kind"] == "invalid":
        told = failed["violations"][:MOST_WARNINGS]
        return InvalidInput([Violation(_text(v["field"]), _text(v["description"])) for v in told])
    kinds = {"script": ScriptFailed, "memory": ScriptOutOfMemory, "diverged": Diverged}
    return kinds.get(failed["kind"], Internal)(message)


def _figures(claimed: Mapping[str, Any]) -> RunFigures:
    accuracy = claimed["val_accuracy"]
    return RunFigures(
        parameter_count=_count(claimed["parameter_count"]),
        train_seconds=_seconds(claimed["train_seconds"]),
        best_epoch=_count(claimed["best_epoch"]),
        epochs=_count(claimed["epochs"]),
        val_accuracy=None if accuracy is None else float(accuracy),
        weights_sha256=_text(claimed["weights_sha256"], 64),
        warnings=tuple(_text(warning) for warning in claimed["warnings"][:MOST_WARNINGS]),
    )


def _count(value: Any) -> int:
    count = int(value)
    if not 0 <= count < _MOST_COUNT:
        raise ValueError(f"expected a count in [0, 2**31), received {count}")
    return count


def _text(value: Any, most: int = LONGEST_LINE) -> str:
    """Read text; half a pair of surrogates, which no message can carry, becomes a question mark."""
    return str(value)[:most].encode("utf-8", "replace").decode("utf-8")
