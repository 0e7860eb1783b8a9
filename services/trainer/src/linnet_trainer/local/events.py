"""Output of a run without a gateway: lines on a stream, a log file, a checkpoint beside it."""

import os
import shutil
import signal
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType

from google.protobuf.json_format import MessageToJson
from linnet.v1 import run_pb2

from linnet_trainer.file_names import ARTIFACTS, CHECKPOINT, MANIFEST
from linnet_trainer.fit.epochs import Ending, EpochRecord

LOGS = "log"
"""Folder of the output, a file an attempt."""


def next_attempt(folder: Path) -> int:
    """Give the number of the attempt to come of a folder's run, from 1.

    A run that has ended makes room for a new one: its output goes.
    """
    logs = sorted((folder / LOGS).glob("[0-9]*.jsonl"), key=lambda path: int(path.stem))
    if not logs:
        return 1
    manifest = folder / MANIFEST
    ended = not (folder / CHECKPOINT).exists() and manifest.exists()
    # A manifest older than the output is that of an earlier run, whose files an export replaces.
    if not ended or manifest.stat().st_mtime_ns < logs[-1].stat().st_mtime_ns:
        return int(logs[-1].stem) + 1
    for path in logs:
        path.unlink()
    return 1


class LocalEvents:
    """Events of one attempt; `stop` may be called from a signal handler."""

    def __init__(self, folder: Path, attempt: int, say: Callable[[str], None]) -> None:
        self._folder = folder
        self._attempt = attempt
        self._say = say
        self._ending: Ending | None = None
        self._sequence = 0
        (folder / LOGS).mkdir(parents=True, exist_ok=True)
        self._log = (folder / LOGS / f"{attempt:08}.jsonl").open("x", encoding="utf-8")
        self.seconds = 0.0

    def stop(self, _number: int = 0, _frame: FrameType | None = None) -> None:
        """End the run at the next chance, with a checkpoint."""
        self._ending = Ending.TERMINATED

    def on_signals(self) -> None:
        """End the run on SIGTERM and SIGINT."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self.stop)

    def line(self, text: str, *, warning: bool = False) -> None:
        """Take a line for a person."""
        level = run_pb2.LOG_LEVEL_WARNING if warning else run_pb2.LOG_LEVEL_INFO
        self._write(run_pb2.LogEntry(level=level, text=text))
        self._say(f"Warning: {text}" if warning else text)

    def epoch(self, record: EpochRecord, line: str, ratio: float) -> None:
        """Take an epoch and the share of the whole training that is done."""
        entry = run_pb2.LogEntry(level=run_pb2.LOG_LEVEL_INFO, text=line, ratio=ratio)
        entry.epoch.CopyFrom(epoch_message(record))
        self._write(entry)
        self._say(line)

    def ratio(self, ratio: float) -> None:
        """Take the share of the whole training that is done."""
        self._write(run_pb2.LogEntry(level=run_pb2.LOG_LEVEL_INFO, ratio=ratio))
        self._say(f"{ratio:.1%} done")

    def exporting(self) -> None:
        """Take that fitting is over; files of an earlier run go, their manifest first."""
        for name in reversed(ARTIFACTS):
            (self._folder / name).unlink(missing_ok=True)

    def interruption(self) -> Ending | None:
        """Say whether the run must end now, and why."""
        return self._ending

    def checkpoint(self, stored: Callable[[int], bytes]) -> None:
        """Put a checkpoint into the folder, replacing the one before."""
        path = self._folder / CHECKPOINT
        path.parent.mkdir(exist_ok=True)
        fresh = path.with_suffix(".new")
        fresh.write_bytes(stored(self._sequence))
        os.replace(fresh, path)  # noqa: PTH105 - the atomic one

    def forget_checkpoint(self) -> None:
        """Take the checkpoint, and the folder that it lies in, out of the folder."""
        shutil.rmtree((self._folder / CHECKPOINT).parent, ignore_errors=True)

    def used(self, seconds: float) -> None:
        """Take the training time used so far."""
        self.seconds = seconds

    def close(self) -> None:
        """Close the log."""
        self._log.close()

    def _write(self, entry: run_pb2.LogEntry) -> None:
        self._sequence += 1
        entry.attempt, entry.sequence = self._attempt, self._sequence
        entry.time.FromDatetime(datetime.now(UTC))
        text = MessageToJson(entry, preserving_proto_field_name=True, indent=None)
        self._log.write(text + "\n")
        self._log.flush()


def epoch_message(record: EpochRecord) -> run_pb2.Epoch:
    """Give the contract's message of an epoch."""
    return run_pb2.Epoch(
        number=record.number,
        fold=record.fold,
        loss=record.loss,
        accuracy=record.accuracy,
        val_loss=record.val_loss,
        val_accuracy=record.val_accuracy,
        learning_rate=record.learning_rate,
        seconds=record.seconds,
        eta_seconds=record.eta_seconds,
        best=record.best,
    )
