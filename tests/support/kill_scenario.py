"""Runs and a batch that gateways take to their end while they are killed; what must hold then."""

from collections.abc import AsyncIterator
from dataclasses import dataclass

from linnet.v1 import batch_pb2, run_pb2
from linnet.v1 import training_service_pb2 as pb
from linnet_gateway.converters import read_log_lines
from linnet_gateway.queries import Page, RunFilter
from linnet_gateway.records import EventKind, RunRecord
from linnet_gateway.states import RunState
from linnet_runtime.errors import LinnetError, NotAllowedInState, NotFound
from linnet_runtime.ids import parse_name

from tests.fakes.faults import Faults, Killed
from tests.fakes.gateway import PARENT, a_spec
from tests.fakes.killable import Gateway
from tests.fakes.lasting_world import EPOCHS, World
from tests.support.run_promises import foreign_keys, gaps, lost_attempts_keys

ROUNDS = 400
BATCH_RUNS = 4
_BATCH = parse_name(f"{PARENT}/batches/batch", "batches")
_ONE = parse_name(f"{PARENT}/runs/one", "runs")
_DOING = {"batch": "batch", "cancel": "cancel", "cancel-batch": "cancel", "delete": "delete"}


@dataclass(frozen=True, slots=True)
class Scenario:
    """What a client does.

    Attributes:
        runs: Ids of single runs.
        steps: In this order: ids of runs and `batch` are made; `cancel` cancels run two; `suspend`
            and `resume` are the batch's, as is `cancel-batch`; `retry` retries what failed of it
            once all has ended; `delete` deletes run one once that has ended.
        failing: Places of the batch whose runs fail.
    """

    runs: tuple[str, ...] = ("one", "two", "three")
    steps: tuple[str, ...] = ("one", "two", "three", "batch", "cancel")
    failing: frozenset[int] = frozenset()

    @property
    def kept(self) -> set[str]:
        """Ids of single runs that are there at the end."""
        return set(self.runs) - ({"one"} if "delete" in self.steps else set())


class Client:
    """Submits, and repeats what was not acknowledged."""

    def __init__(self, world: World, scenario: Scenario) -> None:
        self.world = world
        self.todo = list(scenario.steps)

    async def step(self, gateway: Gateway) -> None:
        """Do the next thing, if it can be done and is acknowledged."""
        if not self.todo:
            return
        what = self.todo[0]
        gateway.faults.doing = _DOING.get(what, "submit")
        try:
            done = await self._do(gateway, what)
        except LinnetError:
            return
        if done:
            self.todo.pop(0)

    async def _do(self, gateway: Gateway, what: str) -> bool:
        try:
            match what:
                case "cancel":
                    await gateway.runs.cancel(parse_name(f"{PARENT}/runs/two", "runs"), "")
                case "suspend":
                    await gateway.batches.suspend(_BATCH, "")
                case "resume":
                    await gateway.batches.resume(_BATCH, "")
                case "cancel-batch":
                    await gateway.batches.cancel(_BATCH, "")
                case "delete":
                    return await self._delete(gateway)
                case "retry":
                    return await self._retry(gateway)
                case "batch":
                    async for _, count in gateway.filling.create(self._chunks()):
                        self.world.acknowledged |= {f"batch-{place}" for place in range(count)}
                case _:
                    run = run_pb2.Run(spec=a_spec(EPOCHS))
                    await gateway.runs.create("demo", what, run, f"request-{what}")
                    self.world.acknowledged.add(what)
        except NotAllowedInState:
            return True
        return True

    async def _retry(self, gateway: Gateway) -> bool:
        found = (await gateway.batches.get(_BATCH)).counts.states
        if any(not state.terminal for state in found):
            return False
        await gateway.batches.retry_failed(_BATCH)
        return True

    async def _delete(self, gateway: Gateway) -> bool:
        try:
            run = await gateway.records.runs.get(_ONE.project, _ONE.id)
            if not run.state.terminal:
                return False
            await gateway.runs.delete(_ONE, "")
        except NotFound:
            pass  # it was deleted, and the answer lost
        return True

    async def _chunks(self) -> AsyncIterator[pb.CreateBatchRequest]:
        batch = batch_pb2.Batch(shard_size=2, parallelism=2)
        header = pb.BatchHeader(parent=PARENT, batch_id="batch", request_id="b", batch=batch)
        yield pb.CreateBatchRequest(header=header)
        # The answer to the header says what is stored: an acknowledgement may have been lost.
        done = sum(name.startswith("batch-") for name in self.world.acknowledged)
        for place in range(done, BATCH_RUNS, 2):
            runs = [run_pb2.Run(spec=a_spec(EPOCHS)) for _ in range(min(2, BATCH_RUNS - place))]
            yield pb.CreateBatchRequest(runs=runs)
        yield pb.CreateBatchRequest(complete=True)


async def play(
    world: World, faults: list[Faults], scenario: Scenario, *, down: range = range(0)
) -> None:
    """Let client, gateways and trainers act in turn until everything has ended; hold what must be.

    Args:
        world: What outlives gateways.
        faults: Of each gateway, one life after the other.
        scenario: What the client does.
        down: Rounds in which the launcher is away.
    """
    client = Client(world, scenario)
    lives = [Gateway(world, fault) for fault in faults]
    quiet = 0
    for number in range(ROUNDS):
        world.launcher.down = number in down
        world.clock.move(2.0)
        for place, gateway in enumerate(lives):
            try:
                await client.step(gateway)
                gateway.faults.doing = "launch"
                await gateway.reconciler.step()
                await world.turn()
                await world.step_trainers(gateway)
                gateway.faults.doing = "housekeeping"
                if number % 3 == 0:
                    await gateway.housekeeping.round()
            except Killed:
                pass
            if gateway.faults.dead:
                await gateway.close()
                faults[place].revive()
                lives[place] = Gateway(world, faults[place])
        idle = not client.todo and not world.launcher.shards and not lives[0].analysis.active
        quiet = quiet + 1 if idle else 0
        if quiet >= 5:
            break
    for fault in faults:
        fault.revive()
    await _check(world, lives[0], scenario)
    for gateway in lives:
        await gateway.close()


async def _check(world: World, gateway: Gateway, scenario: Scenario) -> None:
    """Hold every invariant."""
    for _ in range(3):
        world.clock.move(60.0)
        await gateway.reconciler.step()
        await world.turn()
        await gateway.housekeeping.round()
    found = await gateway.records.runs.list("demo", Page(100), RunFilter())
    singles = [run for run in found if run.batch_uid is None]
    assert sorted(run.id for run in singles) == sorted(scenario.kept)
    _check_batch([run for run in found if run.batch_uid is not None], scenario)
    for run in found:
        allowed = {RunState.SUCCEEDED}
        if run.id == "two":
            allowed.add(RunState.CANCELLED)
        if "cancel-batch" in scenario.steps and run.batch_uid is not None:
            allowed.add(RunState.CANCELLED)
        if run.batch_index in scenario.failing and run.batch_uid is not None:
            allowed = {RunState.FAILED}
        assert run.state in allowed, run
        assert not run.attempt_open
        if run.state is RunState.SUCCEEDED:
            await _check_result(world, gateway, run.uid)
    assert world.launcher.shards == {}
    assert list(await gateway.records.launches.live()) == []
    assert foreign_keys(world.store.objects, (run.prefix for run in found)) == []


def _check_batch(members: list[RunRecord], scenario: Scenario) -> None:
    """Every run of the batch is there once, and each failed one was retried once."""
    count = BATCH_RUNS + len(scenario.failing)
    assert sorted(run.batch_index for run in members) == list(range(count))
    failed = sorted(run.uid for run in members if run.batch_index in scenario.failing)
    assert sorted(run.retry_of for run in members if run.retry_of) == failed


async def _check_result(world: World, gateway: Gateway, uid: str) -> None:
    """Everything that a run promises is there, and its output has no gap."""
    run = await gateway.records.runs.get_uid(uid)
    for file in run.artifacts:
        assert len(world.store.objects[file.key]) == file.size_bytes
    assert lost_attempts_keys(world.store.objects, run.prefix, run.attempt) == []
    sequences: list[int] = []
    for chunk in await gateway.records.events.chunks(uid, (run.attempt, 0)):
        lines = read_log_lines(world.store.objects[chunk.file.key])
        assert [entry.sequence for entry in lines] == list(range(chunk.first, chunk.last + 1))
        sequences += range(chunk.first, chunk.last + 1)
    for event in await gateway.records.events.log(uid, (run.attempt, 0), 100):
        assert event.kind is EventKind.LOG
        sequences += range(event.first, event.last + 1)
    assert gaps(sequences) == []
    assert len(sequences) == EPOCHS
