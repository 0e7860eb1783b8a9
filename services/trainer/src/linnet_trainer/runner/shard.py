"""Trains the runs of one shard, one after the other; a run that fails does not end the shard."""

import shutil
import threading
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from linnet.v1 import run_pb2, runner_service_pb2
from linnet_ml.defaults import resolve
from linnet_ml.spec import TrainingSpec
from linnet_ml.wire import from_message
from linnet_runtime.errors import InvalidInput, LinnetError, Unavailable
from linnet_runtime.lifecycle import ExitCode

from linnet_trainer.file_names import CHECKPOINT
from linnet_trainer.fit.epochs import Ending
from linnet_trainer.run_contract import Outcome, RunEvents, RunOrder
from linnet_trainer.run_data import RunData
from linnet_trainer.runner.inputs import Inputs
from linnet_trainer.runner.outcomes import failure_of, result_message
from linnet_trainer.runner.port import Runner
from linnet_trainer.runner.reporting import Reporting
from linnet_trainer.runner.run_events import GatewayEvents
from linnet_trainer.runner.transfers import Transfers, stored_file

FLUSH_S = 600.0
"""How long a finished run waits for the gateway to store its output."""
LOG_TAIL_LINES = 20

_STALE_ATTEMPT = "STALE_ATTEMPT"

TrainOne = Callable[[RunOrder, RunEvents, Path], Outcome]
"""Trains an order into a folder; composed of trainer, network and children."""
Log = Callable[..., Any]


@dataclass(frozen=True, slots=True)
class ShardParts:
    """What a shard works with.

    Attributes:
        runner: The gateway.
        transfers: The store.
        train: Trains one run.
        scratch: A folder of its own.
        stopping: Set when the process was asked to stop.
        memory_bytes: Gives the resident memory of the process.
        log: Logs an event with fields.
    """

    runner: Runner
    transfers: Transfers
    train: TrainOne
    scratch: Path
    stopping: threading.Event
    memory_bytes: Callable[[], int]
    log: Log


class Shard:
    """One shard of a launch."""

    def __init__(self, parts: ShardParts) -> None:
        self._parts = parts
        self._inputs = Inputs(parts.transfers, parts.scratch)

    def run(self, index: int) -> ExitCode:
        """Train runs until the shard has none left or the process is asked to stop.

        Raises:
            LinnetError: The gateway can't be reached or refuses the launch.
        """
        while not self._parts.stopping.is_set():
            assignment = self._parts.runner.acquire(index)
            if assignment is None:
                return ExitCode.OK
            code = self._one(assignment)
            if code is not ExitCode.OK:
                return code
        return ExitCode.TERMINATED

    def _one(self, assignment: runner_service_pb2.Assignment) -> ExitCode:
        parts = self._parts
        parts.log("run_begins", run=assignment.run, attempt=assignment.attempt)
        reporting = Reporting(
            parts.runner, assignment.run_token, assignment.attempt, parts.memory_bytes
        )
        events = GatewayEvents(reporting, self._saver(assignment.run_token), parts.stopping)
        folder = parts.scratch / "run"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        try:
            code = self._train(assignment, reporting, events, folder)
        finally:
            reporting.close()
            shutil.rmtree(folder, ignore_errors=True)
        parts.log("run_ended", run=assignment.run, attempt=assignment.attempt, exit=code.name)
        return code

    def _train(
        self,
        assignment: runner_service_pb2.Assignment,
        reporting: Reporting,
        events: GatewayEvents,
        folder: Path,
    ) -> ExitCode:
        try:
            order = self._order(assignment)
            events.used(order.seconds_used)
            events.fitting()
            outcome = self._parts.train(order, events, folder)
            if outcome.ending.is_interruption:
                unsaved = events.finish_checkpoints()
                return self._interrupted(outcome.ending, assignment, reporting, unsaved)
            events.uploading()
            events.finish_checkpoints()
            files = self._upload(assignment.run_token, folder, outcome)
        except Unavailable:
            raise
        except Exception as error:  # noqa: BLE001 - a run must not end the shard
            events.finish_checkpoints()
            return self._failed(error, assignment, reporting)
        result = result_message(outcome, files)
        request = runner_service_pb2.FinishRunRequest(result=result)
        self._finish(assignment, reporting, request)
        return ExitCode.OK

    def _finish(
        self,
        assignment: runner_service_pb2.Assignment,
        reporting: Reporting,
        request: runner_service_pb2.FinishRunRequest,
    ) -> None:
        """End the attempt once its output is stored, unless it was taken back meanwhile."""
        try:
            if not request.cancelled:
                reporting.flush(FLUSH_S)
            self._parts.runner.finish(assignment.run_token, request)
        except LinnetError as error:
            # As at the run's deadline: the shard goes on with its next run.
            if reporting.refused is None and error.reason != _STALE_ATTEMPT:
                raise
            self._parts.log("attempt_refused", run=assignment.run, reason=str(error))

    def _order(self, assignment: runner_service_pb2.Assignment) -> RunOrder:
        data = self._inputs.data(assignment)
        return RunOrder(
            name=assignment.run,
            attempt=assignment.attempt,
            spec=_resolved(assignment, data),
            data=data,
            seconds_used=assignment.time_used.ToTimedelta().total_seconds(),
            checkpoint=self._inputs.checkpoint(assignment),
            initial_model=self._inputs.initial_model(assignment),
        )

    def _saver(self, run_token: str) -> Callable[[bytes], None]:
        def save(data: bytes) -> None:
            target = self._parts.runner.create_uploads(run_token, [stored_file(CHECKPOINT, data)])[
                0
            ]
            self._parts.transfers.upload(target, data)

        return save

    def _upload(self, run_token: str, folder: Path, outcome: Outcome) -> list[tuple[str, bytes]]:
        """Put every artifact; the manifest, whose digests are the commit, comes last."""
        files = [(name, (folder / name).read_bytes()) for name in outcome.files]
        described = [stored_file(name, data) for name, data in files]
        targets = self._parts.runner.create_uploads(run_token, described)
        for target, (_, data) in zip(targets, files, strict=True):
            self._parts.transfers.upload(target, data)
        return files

    def _interrupted(
        self,
        ending: Ending,
        assignment: runner_service_pb2.Assignment,
        reporting: Reporting,
        unsaved: LinnetError | None,
    ) -> ExitCode:
        if ending is Ending.TERMINATED:
            return ExitCode.CHECKPOINT_LOST if unsaved is not None else ExitCode.TERMINATED
        if reporting.refused is None:
            request = runner_service_pb2.FinishRunRequest(cancelled=True)
            self._finish(assignment, reporting, request)
        return ExitCode.OK

    def _failed(
        self,
        error: Exception,
        assignment: runner_service_pb2.Assignment,
        reporting: Reporting,
    ) -> ExitCode:
        if reporting.refused is not None:
            # The attempt is somebody else's by now; its end is none of ours.
            self._parts.log("attempt_refused", run=assignment.run, reason=str(reporting.refused))
            return ExitCode.OK
        failure = failure_of(error)
        lines = [failure.message]
        if not isinstance(error, LinnetError):
            lines += "".join(traceback.format_exception(error)).splitlines()
        self._parts.log("run_failed", run=assignment.run, message=failure.message)
        for text in lines:
            reporting.entry(text, level=run_pb2.LOG_LEVEL_ERROR)
        failure.log_tail.extend(lines[-LOG_TAIL_LINES:])
        request = runner_service_pb2.FinishRunRequest(failure=failure)
        self._finish(assignment, reporting, request)
        return ExitCode.OK


def _resolved(assignment: runner_service_pb2.Assignment, data: RunData) -> TrainingSpec:
    """Read the assignment's spec; resolving again changes nothing but refuses what can't fit."""
    spec = from_message(TrainingSpec, assignment.spec)
    try:
        return resolve(
            spec,
            input_kind=data.input_kind,
            input_shape=data.input_shape,
            class_count=len(data.classes),
            has_groups=data.samples.group is not None,
            has_validation=data.samples.has_validation,
        )
    except InvalidInput as error:
        raise InvalidInput(error.violations, reason="INVALID_SPEC") from error
