"""What trainers ask for: work, addresses to put files to, and to be heard at the end."""

from collections import Counter, OrderedDict
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial

from linnet.v1 import dataset_pb2, runner_service_pb2, spec_pb2
from linnet_runtime.clock import Clock
from linnet_runtime.errors import InvalidInput, NotFound, Unavailable
from linnet_runtime.ids import parse_name
from linnet_runtime.objectstore import ObjectStore

from linnet_gateway import attempts, transitions
from linnet_gateway.addresses import Addresses
from linnet_gateway.attempts import RetryLimits
from linnet_gateway.converters import dataset_message, read_failure
from linnet_gateway.datasets.of_run import dataset_of
from linnet_gateway.ports import Datasets, Launches, Runs, Trainings
from linnet_gateway.records import FileRecord, LaunchRecord, RunRecord
from linnet_gateway.runs.inherited import leak_from
from linnet_gateway.states import Failure, FailureReason, RunState
from linnet_gateway.trainers.artifact_names import check_artifact_names
from linnet_gateway.trainers.checkpoints import (
    CHECKPOINT,
    checkpoints,
    next_number,
    remember,
    upload_key,
)
from linnet_gateway.trainers.tokens import LaunchClaim, RunClaim, Tokens
from linnet_gateway.trainers.uploaded import MANIFEST, Uploaded

_SLACK = timedelta(minutes=15)
_MODEL = "model.keras"
_HEARD = timedelta(seconds=12)
"""Trainers report every 5 s at least: one that was heard since may still be training."""
_REMEMBERED_ENDS = 10_000

CrashOf = Callable[[str, int, str], Awaitable[Failure | None]]
"""Tells why a trainer, of a launch's shard and by its name, ended, if that is known."""


@dataclass(frozen=True, slots=True)
class Attempt:
    """An attempt that a trainer holds, as its stream was opened."""

    run: RunRecord
    epochs_planned: int


class Runner:
    """The use cases of trainers."""

    def __init__(
        self,
        *,
        runs: Runs,
        datasets: Datasets,
        trainings: Trainings,
        launches: Launches,
        store: ObjectStore,
        tokens: Tokens,
        clock: Clock,
        limits: RetryLimits,
        crash_of: CrashOf,
    ) -> None:
        self._runs = runs
        self._datasets = datasets
        self._trainings = trainings
        self._launches = launches
        self._uploaded = Uploaded(store)
        self._tokens = tokens
        self._addresses = Addresses(store, clock)
        self._clock = clock
        self._limits = limits
        self._crash_of = crash_of
        self._open: Counter[tuple[str, int]] = Counter()
        self._left: OrderedDict[tuple[str, int], datetime] = OrderedDict()

    def launch_of(self, token: str) -> LaunchClaim:
        """Check a launch token; raises `Unauthenticated`."""
        return self._tokens.read_launch(token, self._clock.now())

    def run_of(self, token: str) -> RunClaim:
        """Check a run token; raises `Unauthenticated`."""
        return self._tokens.read_run(token, self._clock.now())

    async def acquire(
        self, claim: LaunchClaim, shard: int, trainer: str = ""
    ) -> runner_service_pb2.Assignment | None:
        """Hand out the next run of a shard; None when it has none left.

        Args:
            claim: What the launch token says.
            shard: Index of the shard.
            trainer: Name of the process that asks; empty if it said none.

        Raises:
            Unavailable: Another trainer of the shard is connected; try again when it is gone.
            InvalidInput: The launch has no such shard.
        """
        ends: dict[str, Failure | None] = {}
        while True:
            gone: list[str] = []
            choose = partial(self._choose, shard=shard, trainer=trainer, ends=ends, gone=gone)
            run = await self._trainings.hand_out(claim.launch_uid, shard, choose)
            if gone:
                # What ended the trainer that had it decides what becomes of the run.
                ends[gone[-1]] = await self._crash_of(claim.launch_uid, shard, gone[-1])
                continue
            if run is None:
                return None
            try:
                return await self._assignment(run)
            except NotFound as lacking:
                # No later attempt finds it either, and the rest of the shard has its own inputs.
                failure = Failure(FailureReason.INVALID_DATA, f"{lacking.message} any more")
                now = self._clock.now()
                await self._runs.change(run.uid, partial(_give_up, of=run, why=failure, now=now))

    def _choose(
        self,
        launch: LaunchRecord,
        held: RunRecord | None,
        waiting: RunRecord | None,
        *,
        shard: int,
        trainer: str,
        ends: Mapping[str, Failure | None],
        gone: list[str],
    ) -> tuple[Sequence[RunRecord], RunRecord | None]:
        if shard >= launch.shard_count:
            raise InvalidInput.of("shard", f"expected below {launch.shard_count}, received {shard}")
        if held is not None and (held.uid, held.attempt) in self._open:
            raise Unavailable(
                f"shard {shard} has a trainer that is still connected", reason="SHARD_BUSY"
            )
        # A process that asks again did not get the answer: nothing has ended.
        taken_over = held is not None and not (trainer and held.trainer == trainer)
        if held is not None and taken_over and held.trainer not in ends:
            gone.append(held.trainer)
            return [], None
        crash = ends[held.trainer] if held is not None and taken_over else None
        if held is not None and taken_over and crash is None and self._may_be_alive(held):
            raise Unavailable(
                f"shard {shard} has a trainer that was heard of a moment ago", reason="SHARD_BUSY"
            )
        return attempts.choose_next(
            launch,
            held,
            waiting,
            crash=crash,
            limits=self._limits,
            now=self._clock.now(),
            trainer=trainer,
        )

    def _may_be_alive(self, held: RunRecord) -> bool:
        """Say whether a trainer of which no end is known may be connected to another replica."""
        heard = held.last_report_time
        if heard is None:
            return False
        left = self._left.get((held.uid, held.attempt))
        if left is not None and heard <= left:
            return False
        return self._clock.now() - heard < _HEARD

    async def _assignment(self, run: RunRecord) -> runner_service_pb2.Assignment:
        dataset = await dataset_of(run, self._datasets, self._runs)
        now = self._clock.now()
        life = (run.deadline or timedelta(hours=24)) + _SLACK
        claim = RunClaim(run.uid, run.attempt, run.launch_uid or "")
        message = runner_service_pb2.Assignment(
            run=run.name,
            attempt=run.attempt,
            run_token=self._tokens.for_run(claim, now, life),
            spec=spec_pb2.TrainingSpec.FromString(run.spec),
            dataset=dataset_message(dataset),
        )
        message.time_used.FromTimedelta(run.time_used)
        for file in dataset.files:
            message.inputs.append(self._addresses.download(file, life))
        for file in await self._checkpoint(run):
            message.checkpoint.append(self._addresses.download(file, life))
        initial = await self._initial_model(run)
        if initial is not None:
            message.initial_model.CopyFrom(self._addresses.download(initial, life))
        return message

    async def _checkpoint(self, run: RunRecord) -> Sequence[FileRecord]:
        for files in reversed(list(checkpoints(run.checkpoint).values())):
            if await self._uploaded.all_there(files):
                return files
        return ()

    async def _source(self, run: RunRecord) -> RunRecord | None:
        """Read the run that another starts from; None if it starts from none."""
        if not run.init_from:
            return None
        name = parse_name(run.init_from, "runs", field="init_from")
        return await self._runs.get(name.project, name.id)

    async def _inherited(self, run: RunRecord) -> tuple[str, ...]:
        with suppress(NotFound):
            source = await self._source(run)
            warning = None if source is None else leak_from(source, run)
            return () if warning is None else (warning,)
        return ()

    async def _initial_model(self, run: RunRecord) -> FileRecord | None:
        source = await self._source(run)
        if source is None:
            return None
        for file in source.artifacts:
            if file.name == _MODEL:
                return file
        raise NotFound("artifact", f"{source.name}/{_MODEL}")

    async def open_attempt(self, claim: RunClaim) -> Attempt:
        """Begin a stream of reports; raises `PermissionDenied` if the attempt is not current."""
        run = await self._runs.get_uid(claim.run_uid)
        attempts.check_attempt(run, claim.attempt)
        self._open[run.uid, run.attempt] += 1
        fit = spec_pb2.TrainingSpec.FromString(run.spec).fit
        return Attempt(run, fit.epochs)

    async def is_cancelled(self, attempt: Attempt) -> bool:
        """Say whether the trainer of an attempt has to stop."""
        run = await self._runs.get_uid(attempt.run.uid)
        current = run.attempt == attempt.run.attempt and run.attempt_open
        return run.cancel_time is not None or not current

    def close_attempt(self, attempt: Attempt) -> None:
        """End a stream of reports."""
        key = (attempt.run.uid, attempt.run.attempt)
        # A trainer that came back has another stream: the one that broke may end after that began.
        self._open[key] -= 1
        if not self._open[key]:
            del self._open[key]
            self._left[key] = self._clock.now()
            if len(self._left) > _REMEMBERED_ENDS:
                self._left.popitem(last=False)

    async def create_uploads(
        self, claim: RunClaim, files: Sequence[dataset_pb2.StoredFile]
    ) -> list[dataset_pb2.PresignedRequest]:
        """Give an address to put each file of an attempt to.

        Raises:
            InvalidInput: A name is not one that an attempt may have.
            PermissionDenied: The attempt is not current.
        """
        check_artifact_names(files)
        run = await self._runs.get_uid(claim.run_uid)
        attempts.check_attempt(run, claim.attempt)
        number = next_number(run)
        records = [
            FileRecord(file.name, upload_key(run, file.name, number), file.size_bytes, file.sha256)
            for file in files
        ]
        saved = tuple(f for f in records if f.name.startswith(CHECKPOINT))
        if saved:
            await self._runs.change(run.uid, partial(remember, attempt=claim.attempt, new=saved))
        life = (run.deadline or timedelta(hours=24)) + _SLACK
        return [self._addresses.upload(record, life) for record in records]

    async def finish(
        self, claim: RunClaim, request: runner_service_pb2.FinishRunRequest
    ) -> RunState:
        """Take the outcome of an attempt; the same again is answered as the first time.

        Raises:
            InvalidInput: A file that the result names was not uploaded.
            PermissionDenied: The attempt is not current and ended otherwise.
        """
        run = await self._runs.get_uid(claim.run_uid)
        outcome = request.WhichOneof("outcome")
        if run.attempt == claim.attempt and not run.attempt_open and _same(run, request):
            return run.state
        attempts.check_attempt(run, claim.attempt)
        now = self._clock.now()
        files: tuple[FileRecord, ...] = ()
        warnings: tuple[str, ...] = ()
        if outcome == "result":
            files = await self._uploaded.of_result(run, request.result)
            warnings = (*request.result.warnings, *await self._inherited(run))

        def decide(current: RunRecord) -> RunRecord:
            attempts.check_attempt(current, claim.attempt)
            if outcome == "result":
                return attempts.trained(
                    current,
                    files,
                    request.result.summary.SerializeToString(),
                    warnings,
                    now,
                )
            if outcome == "failure":
                failure = read_failure(request.failure)
                return attempts.trainer_failed(current, failure, self._limits, now)
            if current.cancel_time is None:
                raise InvalidInput.of("cancelled", "expected a run that is being cancelled")
            return transitions.cancelled(current, now)

        return (await self._runs.change(run.uid, decide)).state


def _give_up(current: RunRecord, *, of: RunRecord, why: Failure, now: datetime) -> RunRecord:
    attempts.check_attempt(current, of.attempt)
    return transitions.fail(current, why, now)


def _same(run: RunRecord, request: runner_service_pb2.FinishRunRequest) -> bool:
    outcome = request.WhichOneof("outcome")
    if outcome == "result":
        manifest = {f.sha256 for f in run.artifacts if f.name == MANIFEST}
        return {f.sha256 for f in request.result.files if f.name == MANIFEST} == manifest
    if outcome == "failure":
        return run.state not in {RunState.ANALYZING, RunState.SUCCEEDED}
    # Trainers are told so of each attempt that was taken from them, whatever for.
    return run.state in {RunState.CANCELLED, RunState.FAILED}
