"""Each way for a run to fail on Kubernetes reaches its record, with the reason and last lines."""

from __future__ import annotations

import json

import pytest
from linnet.v1 import run_pb2
from product import MIB, Product
from testbed.patience import wait_until

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(900)]

_FAILING = """
def build_model(input_shape, num_classes):
    raise KeyError("missing layer")
"""


_GIVING_UP = """
import sys
from pathlib import Path

version_1 = Path("/sys/fs/cgroup/memory/memory.limit_in_bytes")
limit = version_1 if version_1.exists() else Path("/sys/fs/cgroup/memory.max")
code = int(limit.read_text()) // 2**20 - 1024
print("gave up with", code, flush=True)
sys.exit(code)
"""
# All of a run that reaches such a trainer is its memory limit: that tells it how to end.
_MEMORY_MIB = 1024


def failed(product: Product, run: run_pb2.Run) -> run_pb2.Failure:
    ended = product.until_ended(run, timeout_s=300)
    assert ended.state == run_pb2.RUN_STATE_FAILED, ended
    return ended.failure


@pytest.fixture(scope="module")
def hungry(product: Product) -> run_pb2.Run:
    """A run that needs too much memory; Kubernetes waits long between its tries."""
    return product.start(dense_units=(3000, 3000), memory_bytes=800 * MIB)


@pytest.mark.usefixtures("hungry")
def test_a_script_that_raises(product: Product) -> None:
    """The script's own error is told, with its last lines."""
    failure = failed(product, product.start(script=_FAILING))
    assert failure.reason == run_pb2.FAILURE_REASON_SCRIPT_ERROR
    assert "missing layer" in failure.message + "\n".join(failure.log_tail)


def test_what_can_not_start(product: Product) -> None:
    """A wrong image ends as IMAGE_PULL, more CPU than any node has as UNSCHEDULABLE, by name."""
    env = product.gateway_pods()[0]["spec"]["containers"][0]["env"]
    image = next(one["value"] for one in env if one["name"] == "LINNET_KUBERNETES_TRAINER_IMAGE")
    product.set_gateway(
        UNSCHEDULABLE_LIMIT_S="1",
        IMAGE_PULL_LIMIT_S="1",
        TRAINER_IMAGE="localhost/no-such-trainer:1",
    )
    try:
        without_image, without_node = product.start(), product.start(cpu_millis=8_000)
        failure = failed(product, without_image)
        assert failure.reason == run_pb2.FAILURE_REASON_IMAGE_PULL
        assert "localhost/no-such-trainer:1" in failure.message
        failure = failed(product, without_node)
        assert failure.reason == run_pb2.FAILURE_REASON_UNSCHEDULABLE
        assert "Insufficient cpu" in failure.message
    finally:
        product.set_gateway(UNSCHEDULABLE_LIMIT_S="", IMAGE_PULL_LIMIT_S="", TRAINER_IMAGE=image)


def test_trainers_that_give_up(product: Product) -> None:
    """Each exit code that means "do not retry" reaches its record with the trainer's last line."""
    product.set_gateway(TRAINER_COMMAND=json.dumps(["python3", "-c", _GIVING_UP]))
    reasons = {
        64: run_pb2.FAILURE_REASON_LAUNCH_FAILED,
        65: run_pb2.FAILURE_REASON_INVALID_DATA,
        78: run_pb2.FAILURE_REASON_LAUNCH_FAILED,
    }
    try:
        runs = {
            code: product.start(memory_bytes=(_MEMORY_MIB + code) * MIB, cpu_millis=100)
            for code in reasons
        }
        found = {code: failed(product, run) for code, run in runs.items()}
    finally:
        product.set_gateway(TRAINER_COMMAND="")
    for code, failure in found.items():
        assert failure.reason == reasons[code]
        assert failure.exit_code == code
        assert failure.log_tail[-1] == f"gave up with {code}"


def test_too_much_memory(product: Product, hungry: run_pb2.Run) -> None:
    """A network that does not fit into the run's memory ends as OUT_OF_MEMORY."""
    failure = failed(product, hungry)
    assert failure.reason == run_pb2.FAILURE_REASON_OUT_OF_MEMORY
    assert failure.out_of_memory
    assert failure.exit_code == 137
    assert failure.log_tail


def test_a_deadline(product: Product) -> None:
    """A run that takes longer than it may ends as DEADLINE_EXCEEDED, with its last lines."""
    failure = failed(product, product.start(epochs=50_000, deadline_s=12))
    assert failure.reason == run_pb2.FAILURE_REASON_DEADLINE_EXCEEDED
    assert failure.log_tail
    product.until_no_trainer_lives()


def _delete_jobs(product: Product) -> int:
    names = [
        one["metadata"]["name"]
        for one in product.trainers()
        if one["kind"] == "Job"
        and not one["metadata"].get("deletionTimestamp")
        and not (one["status"].get("conditions") or [])[1:]
    ]
    for name in names:
        product.kubectl(
            "delete", "job", name, f"--namespace={product.release.runs}", "--wait=false"
        )
    return len(names)


def test_a_job_deleted_by_hand_once(product: Product) -> None:
    """Somebody deletes the Job while it trains: the run is launched again and succeeds."""
    run = product.start(epochs=1500)
    product.until_training(run)
    assert _delete_jobs(product) == 1
    ended = product.until_ended(run, timeout_s=300)
    assert ended.state == run_pb2.RUN_STATE_SUCCEEDED, ended
    assert ended.attempt > 1


def test_a_job_deleted_by_hand_again_and_again(product: Product) -> None:
    """A run whose every Job is deleted ends as LAUNCH_DELETED and says so."""
    product.until_no_trainer_lives()
    run = product.start(epochs=50_000)

    def over() -> bool:
        with product.client() as client:
            if client.get_run(run.name).state == run_pb2.RUN_STATE_FAILED:
                return True
        _delete_jobs(product)
        return False

    wait_until(over, 240.0, "the run is given up", interval_s=1.0)
    with product.client() as client:
        failure = client.get_run(run.name).failure
    assert failure.reason == run_pb2.FAILURE_REASON_LAUNCH_DELETED
    assert "deleted" in failure.message


def test_a_killed_trainer_pod_is_retried(product: Product) -> None:
    """A trainer pod that is killed comes back, goes on from its checkpoint, and succeeds."""
    run = product.start(epochs=1500)
    product.until_training(run)
    pods = [one for one in product.trainers() if one["kind"] == "Pod"]
    living = [one["metadata"]["name"] for one in pods if one["status"]["phase"] == "Running"]
    assert len(living) == 1, living
    where = (f"--namespace={product.release.runs}", "--wait=false", "--grace-period=0", "--force")
    product.kubectl("delete", "pod", living[0], *where)
    ended = product.until_ended(run, timeout_s=300)
    assert ended.state == run_pb2.RUN_STATE_SUCCEEDED, ended
    assert ended.attempt > 1


def test_evictions_are_not_charged_to_the_run(product: Product) -> None:
    """A run whose trainer is evicted as often as it may crash goes on and succeeds."""
    run = product.start(epochs=2000)
    for number in range(1, 4):
        product.until(
            run,
            lambda now, n=number: (
                now.attempt == n
                and now.state == run_pb2.RUN_STATE_TRAINING
                and now.progress.epoch > 0
            ),
        )
        (pod,) = (
            one["metadata"]["name"]
            for one in product.trainers()
            if one["kind"] == "Pod"
            and one["status"]["phase"] == "Running"
            and "deletionTimestamp" not in one["metadata"]
        )
        eviction = {
            "apiVersion": "policy/v1",
            "kind": "Eviction",
            "metadata": {"name": pod, "namespace": product.release.runs},
        }
        path = f"/api/v1/namespaces/{product.release.runs}/pods/{pod}/eviction"
        product.kubectl("create", f"--raw={path}", "--filename=-", stdin=json.dumps(eviction))
    ended = product.until_ended(run, timeout_s=300)
    assert ended.state == run_pb2.RUN_STATE_SUCCEEDED, ended
    assert ended.attempt == 4
