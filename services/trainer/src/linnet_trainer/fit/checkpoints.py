"""Checkpoints: the whole progress of a run in one .npz file, without pickles."""

import io
import json
import math
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from linnet_runtime.errors import InvalidInput

from linnet_trainer.file_names import CHECKPOINT
from linnet_trainer.fit.epochs import EpochRecord
from linnet_trainer.fit.fitting import FitProgress
from linnet_trainer.fit.loop_state import LoopState
from linnet_trainer.fit.watching import Watch

_VERSION = 2


@dataclass(slots=True)
class RunProgress:
    """Where a run stands.

    Attributes:
        fold: Index of the fit under way; as many as folds when the final fit is under way.
        fit: Its progress; None before its first step.
        done: Fits that have ended, with the state to export.
        seconds: Training time used by all attempts so far.
        attempt: The attempt that made the checkpoint; zero before there is one.
        log_sequence: Its last log entry before; zero where it is not known.
    """

    fold: int = 0
    fit: FitProgress | None = None
    done: list[FitProgress] = field(default_factory=list)
    seconds: float = 0.0
    attempt: int = 0
    log_sequence: int = 0


def to_bytes(progress: RunProgress, spec_digest: str) -> bytes:
    """Give the file of a checkpoint; `spec_digest` says what spec and data it belongs to."""
    arrays: dict[str, Any] = {}
    fits = [*progress.done, *([progress.fit] if progress.fit is not None else [])]
    meta = {
        "version": _VERSION,
        "spec": spec_digest,
        "fold": progress.fold,
        "running": progress.fit is not None,
        "seconds": progress.seconds,
        "attempt": progress.attempt,
        "log_sequence": progress.log_sequence,
        "fits": [_put_fit(arrays, f"fit{i}", fit) for i, fit in enumerate(fits)],
    }
    arrays["meta"] = np.frombuffer(json.dumps(meta).encode(), dtype=np.uint8)
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    return buffer.getvalue()


def from_bytes(stored: bytes, spec_digest: str) -> RunProgress:
    """Read a checkpoint.

    Raises:
        InvalidInput: It is damaged or belongs to another spec.
    """
    try:
        with np.load(io.BytesIO(stored), allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files}
        meta = json.loads(arrays["meta"].tobytes())
        fits = [_get_fit(arrays, f"fit{i}", entry) for i, entry in enumerate(meta["fits"])]
        running = fits.pop() if meta["running"] else None
        numbers = (meta[name] for name in ("seconds", "attempt", "log_sequence"))
        found = RunProgress(meta["fold"], running, fits, *numbers)
        known = meta["version"] == _VERSION and meta["spec"] == spec_digest
    # A damaged archive raises whatever its damage meets.
    except Exception as error:
        raise InvalidInput.of(CHECKPOINT, f"expected a checkpoint of this run: {error}") from error
    if not known:
        raise InvalidInput.of(CHECKPOINT, "expected a checkpoint of this spec and version")
    return found


def _put_fit(arrays: dict[str, Any], name: str, fit: FitProgress) -> dict[str, Any]:
    return {
        "epoch": fit.epoch,
        "step": fit.step,
        "epoch_seconds": fit.epoch_seconds,
        "watch": {k: _number(v) for k, v in asdict(fit.watch).items()},
        "history": [{k: _number(v) for k, v in r.to_dict().items()} for r in fit.history],
        "state": _put_state(arrays, f"{name}.state", fit.state),
        "best": None if fit.best is None else _put_state(arrays, f"{name}.best", fit.best),
    }


def _get_fit(arrays: dict[str, Any], name: str, entry: dict[str, Any]) -> FitProgress:
    best = entry["best"]
    return FitProgress(
        state=_get_state(arrays, f"{name}.state", entry["state"]),
        best=None if best is None else _get_state(arrays, f"{name}.best", best),
        epoch=entry["epoch"],
        step=entry["step"],
        watch=Watch(**{k: _back(v) for k, v in entry["watch"].items()}),
        history=[EpochRecord(**{k: _back(v) for k, v in r.items()}) for r in entry["history"]],
        epoch_seconds=entry["epoch_seconds"],
    )


def _put_state(arrays: dict[str, Any], name: str, state: LoopState) -> dict[str, Any]:
    arrays[f"{name}.weights"] = state.weights
    for group in ("slots", "fixed"):
        for index, array in enumerate(getattr(state, group)):
            arrays[f"{name}.{group}{index}"] = array
    arrays[f"{name}.sums"] = np.array([state.loss_sum, state.correct], dtype=np.float64)
    return {"step": state.step, "slots": len(state.slots), "fixed": len(state.fixed)}


def _get_state(arrays: dict[str, Any], name: str, entry: dict[str, Any]) -> LoopState:
    sums = arrays[f"{name}.sums"]
    return LoopState(
        weights=arrays[f"{name}.weights"],
        slots=tuple(arrays[f"{name}.slots{i}"] for i in range(entry["slots"])),
        fixed=tuple(arrays[f"{name}.fixed{i}"] for i in range(entry["fixed"])),
        step=entry["step"],
        loss_sum=float(sums[0]),
        correct=float(sums[1]),
    )


def _number(value: Any) -> Any:
    """JSON has no infinity; a word stands for it."""
    return repr(value) if isinstance(value, float) and not math.isfinite(value) else value


def _back(value: Any) -> Any:
    return float(value) if isinstance(value, str) else value
