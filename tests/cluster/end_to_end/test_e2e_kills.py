"""A batch on real pods while gateway, trainers and store are killed: nothing lost, nothing doubled.

The seed chooses the order of the kills and how many runs were trained before each; what holds after
it is what tests/integration/test_gateway_killpoints.py holds without a cluster.
"""

from __future__ import annotations

import datetime as dt
import json
import random
from collections.abc import Iterator, Mapping
from contextlib import suppress
from itertools import groupby
from typing import Any

import pytest
from linnet.v1 import batch_pb2, run_pb2, training_service_pb2
from linnet_runtime.errors import LinnetError
from minio import Minio
from product import TERMINAL, Product
from testbed import objectstore
from testbed.cluster import Cluster
from testbed.faults import TestbedFault
from testbed.images import ctr
from testbed.objectstore import ObjectStore
from testbed.patience import wait_until

from tests.support.run_promises import (
    Spell,
    foreign_keys,
    gaps,
    held_twice,
    lost_attempts_keys,
)

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(600)]

_SEED = 6
_RUNS = 12
_SHARDS = 3
_EPOCHS = 4
_VICTIMS = ("gateway", "trainer", "store", "trainer", "gateway")
_TRAINED = (run_pb2.RUN_STATE_ANALYZING, *TERMINAL)
_ENDED_S = 240.0
_SWEPT_S = 60.0


def kills(seed: int) -> list[tuple[int, str]]:
    """Give (runs that have been trained, who is killed then), in order."""
    drawn = random.Random(seed)
    moments = sorted(drawn.sample(range(_RUNS // 2), len(_VICTIMS)))
    return list(zip(moments, drawn.sample(_VICTIMS, len(_VICTIMS)), strict=True))


class Killing:
    """Kills parts of an installation from the node, where process 1 of a container can be."""

    def __init__(
        self, product: Product, cluster: Cluster, store: ObjectStore, batch: str, seed: int
    ) -> None:
        self._product = product
        self._cluster = cluster
        self._store = store
        self._batch = batch
        self._random = random.Random(seed)

    def have(self, *states: run_pb2.RunState.ValueType) -> int:
        """Count the runs in one of the states; -1 while the gateway does not answer."""
        try:
            return sum(run.state in states for run in self.runs())
        except LinnetError:
            return -1

    def runs(self) -> list[run_pb2.Run]:
        """Read the runs of the batch."""
        with self._product.client() as client:
            return list(client.list_runs(filter_text=f'batch = "{self._batch}"'))

    def kill(self, victim: str) -> None:
        """Kill one; returns once it was missed."""
        {"gateway": self._gateway, "trainer": self._trainer, "store": self._store_away}[victim]()

    def _gateway(self) -> None:
        (pod,) = self._product.gateway_pods()
        before = int(pod["status"]["containerStatuses"][0]["restartCount"])
        self._container(pod["status"]["containerStatuses"][0]["containerID"])

        def restarted() -> bool:
            (now,) = self._product.gateway_pods()
            status = now["status"]["containerStatuses"][0]
            return int(status["restartCount"]) > before and bool(status["ready"])

        wait_until(restarted, 90.0, "the gateway's container is back", interval_s=0.3)

    def _trainer(self) -> None:
        def killed() -> bool:
            living = [
                status["containerID"]
                for pod in self._product.trainers()
                if pod["kind"] == "Pod" and pod["status"]["phase"] == "Running"
                if self._has_a_run(pod)
                for status in pod["status"]["containerStatuses"]
                if "running" in status["state"]
            ]
            # One that has ended since is not there to be killed.
            with suppress(TestbedFault, IndexError):
                self._container(self._random.choice(sorted(living)))
                return True
            return False

        wait_until(killed, 60.0, "a trainer is killed", detail=self.standing, interval_s=0.3)

    def _has_a_run(self, pod: Mapping[str, Any]) -> bool:
        """Say whether a trainer is at work: the end of one that starts up costs no attempt."""
        events: list[object] = []
        with suppress(TestbedFault):
            events = [told["event"] for told in _told(self._product, pod)]
        turns = [event for event in events if event in {"run_begins", "run_ended"}]
        return turns[-1:] == ["run_begins"]

    def standing(self) -> str:
        """Say where runs, Jobs and pods stand, for a failure's message."""
        runs = [(run.name, run.state, run.attempt, run.waiting) for run in self.runs()]
        trainers = self._product.trainers()
        return str([runs, *((one["metadata"]["name"], one["status"]) for one in trainers)])

    def _store_away(self) -> None:
        objectstore.kill(self._cluster)

        def missed() -> bool:
            for pod in self._product.trainers():
                # A pod whose container is not there yet has no output.
                with suppress(TestbedFault):
                    if pod["kind"] == "Pod" and any(
                        told["event"] == "store_away" for told in _told(self._product, pod)
                    ):
                        return True
            return False

        try:
            wait_until(missed, 120.0, "a trainer misses the store", detail=self.standing)
        finally:
            objectstore.start(self._cluster, self._store)

    def _container(self, identity: str) -> None:
        name = identity.removeprefix("containerd://")
        kill = [*ctr(self._cluster.places), "task", "kill", "--signal=SIGKILL", name]
        self._cluster.processes.run(kill)


def _accepted(product: Product) -> str:
    """Submit the batch and give its name once every run was acknowledged."""
    batch = batch_pb2.Batch(shard_size=_RUNS // _SHARDS, parallelism=_SHARDS)
    header = training_service_pb2.BatchHeader(batch=batch)
    runs = []
    for number in range(_RUNS):
        run = product.run_of(epochs=_EPOCHS, cpu_millis=500)
        run.spec.fit.seed = number + 1
        runs.append(run)
    with product.client() as client:
        *_, last = client.batches.create(runs, header=header, batch_id=f"kills-{_SEED}")
        assert last.accepted_count == _RUNS
        return client.batches.get(f"kills-{_SEED}").name


def _spells(product: Product, runs: list[run_pb2.Run]) -> Iterator[Spell]:
    """Read from the output of every trainer pod, dead ones too, when it had which run."""
    names = {run.name for run in runs}
    for pod in product.trainers():
        if pod["kind"] != "Pod":
            continue
        (status,) = pod["status"]["containerStatuses"]
        died_s = _seconds(status["state"]["terminated"]["finishedAt"])
        begun: dict[tuple[str, int], float] = {}
        for told in _told(product, pod):
            if told.get("run") not in names:
                continue
            held = (str(told["run"]), int(told["attempt"]))
            if told["event"] == "run_begins":
                begun[held] = _seconds(told["timestamp"])
            elif told["event"] == "run_ended":
                yield Spell(*held, begun.pop(held), _seconds(told["timestamp"]))
        for held, begin_s in begun.items():
            yield Spell(*held, begin_s, died_s)


def _told(product: Product, pod: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Read the events that a trainer pod has logged."""
    words = ("logs", pod["metadata"]["name"], f"--namespace={product.release.runs}")
    for line in product.kubectl(*words).splitlines():
        if line.startswith("{"):
            yield json.loads(line)


def _seconds(stamp: str) -> float:
    return dt.datetime.fromisoformat(stamp).timestamp()


def test_a_batch_survives_the_death_of_every_part(
    product: Product, own_testbed: Cluster, object_store: ObjectStore
) -> None:
    """Twelve runs in three shards: each succeeds once, nothing is left, no output is missing."""
    batch = _accepted(product)
    killing = Killing(product, own_testbed, object_store, batch, _SEED)
    for moment, victim in kills(_SEED):
        wait_until(
            lambda moment=moment: killing.have(*_TRAINED) >= moment,
            _ENDED_S,
            f"{moment} runs have been trained before the {victim} is killed",
            interval_s=0.3,
            detail=killing.standing,
        )
        killing.kill(victim)
    wait_until(
        lambda: killing.have(*TERMINAL) == _RUNS,
        _ENDED_S,
        "every run has ended",
        interval_s=0.3,
        detail=killing.standing,
    )

    runs = killing.runs()
    assert sorted(run.batch_index for run in runs) == list(range(_RUNS))
    assert {run.state for run in runs} == {run_pb2.RUN_STATE_SUCCEEDED}
    assert sum(run.attempt for run in runs) > _RUNS, "no kill of a trainer cost an attempt"
    with product.client() as client:
        wait_until(
            lambda: client.batches.get(batch).state == batch_pb2.BATCH_STATE_DONE,
            _SWEPT_S,
            "the batch is done with its last run",
            detail=lambda: str(client.batches.get(batch)),
        )
    product.until_no_trainer_lives()
    _check_trainers(product, runs)
    for run in runs:
        _check_output(product, run)
    _check_objects(product, object_store, runs)


def _check_trainers(product: Product, runs: list[run_pb2.Run]) -> None:
    """No run was with two trainers at once, and every Job belongs to the one launch."""
    spells = list(_spells(product, runs))
    assert {(run.name, run.attempt) for run in runs} <= {(s.run, s.attempt) for s in spells}
    assert held_twice(spells) == []
    batch = runs[0].batch.rsplit("/", 1)[1]
    jobs = [
        one["metadata"]["name"]
        for one in product.trainers()
        if one["kind"] == "Job" and batch in one["metadata"]["labels"].values()
    ]
    assert len(jobs) == 1, jobs


def _check_output(product: Product, run: run_pb2.Run) -> None:
    """Every attempt's output has no gap, and all together tell of every epoch."""
    with product.client() as client:
        entries = list(client.logs(run.name))
    for attempt, held in groupby(entries, key=lambda entry: entry.attempt):
        assert gaps([entry.sequence for entry in held]) == [], (run.name, attempt)
    # An attempt that goes on from a checkpoint tells of the epochs after it.
    epochs = {entry.epoch.number for entry in entries if entry.HasField("epoch")}
    assert epochs == set(range(1, _EPOCHS + 1)), run.name


def _check_objects(product: Product, store: ObjectStore, runs: list[run_pb2.Run]) -> None:
    """The store has every artifact in its size, and nothing that no run has."""
    inside = Minio(
        store.endpoint, access_key=store.access_key, secret_key=store.secret_key, secure=False
    )
    with product.client() as client:
        every = list(client.list_runs())
    prefixes = {run.name: f"{run.name}-{run.uid}" for run in every}

    def sizes() -> dict[str, int]:
        listed = inside.list_objects(product.release.name, "projects/default/runs/", recursive=True)
        return {str(one.object_name): int(one.size or 0) for one in listed}

    def strangers() -> list[str]:
        keys = sizes().keys()
        lost = [lost_attempts_keys(keys, prefixes[run.name], run.attempt) for run in runs]
        return [*foreign_keys(keys, prefixes.values()), *(key for some in lost for key in some)]

    wait_until(
        lambda: not strangers(), _SWEPT_S, "nothing is left over", detail=lambda: str(strangers())
    )
    found = sizes()
    for run in runs:
        assert run.artifacts
        for file in run.artifacts:
            assert found.get(file.key) == file.size_bytes, (run.name, file.name)
