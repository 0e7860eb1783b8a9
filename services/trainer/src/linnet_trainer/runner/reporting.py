"""Streams a run's output to the gateway: numbered, in order, without gap or repeat.

Entries wait in memory until the gateway says that they are stored. After a broken stream the first
response of the next one says what is stored already; everything after that is sent again. Training
goes on while the gateway is away.
"""

import threading
from collections import deque
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from itertools import islice

from linnet.v1 import run_pb2, runner_service_pb2
from linnet_runtime.errors import LinnetError, Unavailable

from linnet_trainer.runner.port import Runner

HEARTBEAT_S = 5.0
"""Longest silence; the gateway asks for a message every ten seconds."""
GATHER_S = 0.5
"""What nobody follows waits so long for more, so that short epochs share a message."""
BATCH = 500
"""Entries of one message; the contract allows 1,000."""
BATCH_BYTES = 4 << 20
"""Bytes of one message; lines of a script may be long, and the gateway reads 16 MiB at most."""
_BACKOFF_S = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0)


class Reporting:
    """One run's reports, from a thread of its own; methods may be called from any thread."""

    def __init__(
        self,
        runner: Runner,
        run_token: str,
        attempt: int,
        memory_bytes: Callable[[], int],
        first_sequence: int = 1,
    ) -> None:
        self._runner = runner
        self._run_token = run_token
        self._attempt = attempt
        self._memory_bytes = memory_bytes
        self._changed = threading.Condition()
        self._waiting: deque[run_pb2.LogEntry] = deque()
        self._next = first_sequence
        self._sent = first_sequence - 1
        self._phase = run_pb2.TRAINER_PHASE_PREPARING
        self._phase_changed = False
        self._seconds_used = 0.0
        self._cancelled = False
        self._followed = False
        self._flushing = False
        self._closing = False
        self._failures = 0
        self._refused: LinnetError | None = None
        self._thread = threading.Thread(target=self._run, name="reporting", daemon=True)
        self._thread.start()

    @property
    def cancelled(self) -> bool:
        """Whether the gateway said that the run is cancelled."""
        return self._cancelled

    @property
    def refused(self) -> LinnetError | None:
        """Why the gateway takes no more reports of this attempt; None while it does."""
        return self._refused

    @property
    def last_sequence(self) -> int:
        """Number of the last entry."""
        return self._next - 1

    def entry(
        self,
        text: str,
        *,
        level: run_pb2.LogLevel.ValueType = run_pb2.LOG_LEVEL_INFO,
        epoch: run_pb2.Epoch | None = None,
        ratio: float | None = None,
    ) -> run_pb2.LogEntry:
        """Add an entry and give it with its number."""
        entry = run_pb2.LogEntry(attempt=self._attempt, level=level, text=text, ratio=ratio)
        if epoch is not None:
            entry.epoch.CopyFrom(epoch)
        entry.time.FromDatetime(datetime.now(UTC))
        with self._changed:
            entry.sequence = self._next
            self._next += 1
            self._waiting.append(entry)
            self._changed.notify_all()
        return entry

    def phase(self, phase: run_pb2.TrainerPhase.ValueType, seconds_used: float) -> None:
        """Say what the trainer does now, and the training time used so far."""
        with self._changed:
            self._phase_changed = self._phase_changed or phase != self._phase
            self._phase, self._seconds_used = phase, seconds_used
            self._changed.notify_all()

    def flush(self, timeout_s: float) -> None:
        """Wait until everything is stored.

        Raises:
            Unavailable: It was not within `timeout_s`.
            LinnetError: The gateway takes no more reports.
        """
        with self._changed:
            self._flushing = True
            self._changed.notify_all()
            done = self._changed.wait_for(
                lambda: not self._waiting or self._refused is not None, timeout_s
            )
        if self._refused is not None:
            raise self._refused
        if not done:
            raise Unavailable("the gateway has not stored the run's output in time")

    def close(self) -> None:
        """End the stream; what is not stored yet is lost."""
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        self._thread.join(10)

    def _run(self) -> None:
        while not self._closing:
            try:
                self._stream()
            except Unavailable:
                self._failures += 1
            except LinnetError as error:
                with self._changed:
                    self._refused = error
                    self._changed.notify_all()
                return
            with self._changed:
                pause = _BACKOFF_S[min(self._failures, len(_BACKOFF_S) - 1)]
                self._changed.wait_for(lambda: self._closing, pause)

    def _stream(self) -> None:
        known, over = threading.Event(), threading.Event()
        try:
            self._exchange(known, over)
        finally:
            with self._changed:
                over.set()
                self._changed.notify_all()

    def _exchange(self, known: threading.Event, over: threading.Event) -> None:
        for response in self._runner.report(self._run_token, self._requests(known, over)):
            with self._changed:
                while self._waiting and self._waiting[0].sequence <= response.stored_sequence:
                    self._waiting.popleft()
                if not known.is_set():
                    self._sent = response.stored_sequence
                    self._next = max(self._next, response.stored_sequence + 1)
                self._cancelled = self._cancelled or response.cancelled
                self._followed = response.followed
                self._failures = 0
                known.set()
                self._changed.notify_all()

    def _requests(
        self, known: threading.Event, over: threading.Event
    ) -> Iterator[runner_service_pb2.ReportRequest]:
        # A transport may ask on behalf of a call that has failed: what that took would be lost.
        def ended() -> bool:
            return self._closing or over.is_set()

        yield self._message([])
        while not known.wait(0.2):
            if ended():
                return
        while True:
            with self._changed:
                self._changed.wait_for(
                    lambda: ended() or self._unsent() > 0 or self._phase_changed,
                    HEARTBEAT_S,
                )
                # Somebody who follows sees each entry at once, the end waits for nothing.
                self._changed.wait_for(
                    lambda: ended() or self._flushing or self._followed, GATHER_S
                )
                if ended():
                    return
                entries = self._due()
                if entries:
                    self._sent = entries[-1].sequence
                self._phase_changed = False
            yield self._message(entries)

    def _due(self) -> list[run_pb2.LogEntry]:
        already = len(self._waiting) - self._unsent()
        due: list[run_pb2.LogEntry] = []
        size = 0
        for entry in islice(self._waiting, already, already + BATCH):
            size += entry.ByteSize()
            if due and size > BATCH_BYTES:
                break
            due.append(entry)
        return due

    def _unsent(self) -> int:
        return self._next - 1 - self._sent if self._waiting else 0

    def _message(self, entries: list[run_pb2.LogEntry]) -> runner_service_pb2.ReportRequest:
        request = runner_service_pb2.ReportRequest(
            entries=entries, phase=self._phase, memory_bytes=self._memory_bytes()
        )
        request.time_used.FromNanoseconds(int(self._seconds_used * 1e9))
        return request
