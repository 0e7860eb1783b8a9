"""The gateway goes away while a run trains, and nothing is lost."""

from __future__ import annotations

import time

import pytest
from linnet.v1 import run_pb2
from product import Product, epochs_told
from testbed.cluster import Cluster
from testbed.images import ctr
from testbed.patience import wait_until

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(600)]

_EPOCHS = 300


def _restarts(product: Product) -> int:
    statuses = [one["status"]["containerStatuses"][0] for one in product.gateway_pods()]
    return sum(int(status["restartCount"]) for status in statuses)


def test_kill_9_of_the_gateway_loses_nothing(product: Product, own_testbed: Cluster) -> None:
    """After SIGKILL in the middle the run succeeds in its first attempt, with every epoch told."""
    run = product.start(epochs=_EPOCHS)
    product.until_training(run)
    (pod,) = product.gateway_pods()
    before = _restarts(product)
    container = pod["status"]["containerStatuses"][0]["containerID"].removeprefix("containerd://")
    # From the node: inside its container, process 1 can't be killed.
    kill = [*ctr(own_testbed.places), "task", "kill", "--signal=SIGKILL", container]
    own_testbed.processes.run(kill)
    wait_until(lambda: _restarts(product) > before, 60.0, "the gateway's container is restarted")
    product.await_rollout()
    ended = product.until_ended(run, timeout_s=300)
    assert ended.state == run_pb2.RUN_STATE_SUCCEEDED, ended
    assert ended.attempt == 1
    assert epochs_told(product, run) == list(range(1, _EPOCHS + 1))


def test_a_rollout_of_the_gateway_loses_nothing(product: Product) -> None:
    """A restart as upgrades make it: another pod takes over, the run goes on and succeeds."""
    run = product.start(epochs=_EPOCHS)
    product.until_training(run)
    (pod,) = product.gateway_pods()
    product.restart_gateway()
    product.await_rollout()
    after = [one["metadata"]["uid"] for one in product.gateway_pods()]
    assert pod["metadata"]["uid"] not in after
    ended = product.until_ended(run, timeout_s=300)
    assert ended.state == run_pb2.RUN_STATE_SUCCEEDED, ended
    assert ended.attempt == 1
    assert epochs_told(product, run) == list(range(1, _EPOCHS + 1))


def test_a_submit_while_the_gateway_is_away_is_made_once(product: Product) -> None:
    """A client that submits during a rollout waits, and its run exists once."""
    product.restart_gateway()
    title = f"during-{time.monotonic_ns()}"
    run = product.run_of()
    run.display_name = title
    with product.client() as client:
        created = client.create_run(run)
        product.await_rollout()
        assert [one.name for one in client.list_runs() if one.display_name == title] == [
            created.name
        ]
    assert product.until_ended(created).state == run_pb2.RUN_STATE_SUCCEEDED
