"""A run's events on their way to the gateway, and the gateway's wishes on their way back."""

import threading
from collections.abc import Callable

from linnet.v1 import run_pb2
from linnet_runtime.errors import LinnetError

from linnet_trainer.fit.epochs import Ending, EpochRecord
from linnet_trainer.local.events import epoch_message
from linnet_trainer.runner.reporting import Reporting

Save = Callable[[bytes], None]


class GatewayEvents:
    """Events of one run; checkpoints go up in a thread while training goes on."""

    def __init__(self, reporting: Reporting, save: Save, stopping: threading.Event) -> None:
        self._reporting = reporting
        self._stopping = stopping
        self._uploads = _LatestUpload(save)
        self._seconds = 0.0
        self._phase = run_pb2.TRAINER_PHASE_PREPARING

    def line(self, text: str, *, warning: bool = False) -> None:
        """Take a line for a person."""
        level = run_pb2.LOG_LEVEL_WARNING if warning else run_pb2.LOG_LEVEL_INFO
        for part in text.splitlines() or [""]:
            self._reporting.entry(part, level=level)

    def epoch(self, record: EpochRecord, line: str, ratio: float) -> None:
        """Take an epoch and the share of the whole training that is done."""
        self._reporting.entry(line, epoch=epoch_message(record), ratio=ratio)

    def ratio(self, ratio: float) -> None:
        """Take the share of the whole training that is done."""
        self._reporting.entry("", ratio=ratio)

    def exporting(self) -> None:
        """Take that fitting is over."""
        self._enter(run_pb2.TRAINER_PHASE_EXPORTING)

    def fitting(self) -> None:
        """Take that fitting begins."""
        self._enter(run_pb2.TRAINER_PHASE_FITTING)

    def uploading(self) -> None:
        """Take that the artifacts go up."""
        self._enter(run_pb2.TRAINER_PHASE_UPLOADING)

    def interruption(self) -> Ending | None:
        """Say whether the run must end now, and why."""
        if self._reporting.cancelled or self._reporting.refused is not None:
            return Ending.CANCELLED
        return Ending.TERMINATED if self._stopping.is_set() else None

    def checkpoint(self, stored: Callable[[int], bytes]) -> None:
        """Store a checkpoint; the newest one that waits replaces any older."""
        self._uploads.put(stored(self._reporting.last_sequence))

    def used(self, seconds: float) -> None:
        """Take the training time used so far, earlier attempts included."""
        self._seconds = seconds
        self._reporting.phase(self._phase, seconds)

    def finish_checkpoints(self) -> LinnetError | None:
        """Wait for the last checkpoint; give the error that kept it from being stored."""
        return self._uploads.close()

    def _enter(self, phase: run_pb2.TrainerPhase.ValueType) -> None:
        self._phase = phase
        self._reporting.phase(phase, self._seconds)


class _LatestUpload:
    """Puts the newest of the given bytes, one at a time."""

    def __init__(self, save: Save) -> None:
        self._save = save
        self._changed = threading.Condition()
        self._waiting: bytes | None = None
        self._closing = False
        self._error: LinnetError | None = None
        self._thread: threading.Thread | None = None

    def put(self, data: bytes) -> None:
        with self._changed:
            self._waiting = data
            self._changed.notify_all()
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="checkpoints", daemon=True)
                self._thread.start()

    def close(self) -> LinnetError | None:
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        if self._thread is not None:
            self._thread.join()
        return self._error

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._closing or self._waiting is not None)
                data, self._waiting = self._waiting, None
            if data is None:
                return
            try:
                self._save(data)
                self._error = None
            except LinnetError as error:
                self._error = error
