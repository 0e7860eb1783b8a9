"""Each way for a run to fail on Kubernetes reaches its record, with the reason and last lines."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
from linnet.v1 import run_pb2
from product import MIB, RUNS, Product
from testbed.patience import wait_until

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(900)]

_FAILING = """
def build_model(input_shape, num_classes):
    raise KeyError("missing layer")
"""


@pytest.fixture
def impatient(product: Product) -> Iterator[Product]:
    """The product with a gateway that gives up on what can't start within seconds."""
    product.set_gateway(UNSCHEDULABLE_LIMIT_S="1", IMAGE_PULL_LIMIT_S="1")
    yield product
    product.set_gateway(
        UNSCHEDULABLE_LIMIT_S="", IMAGE_PULL_LIMIT_S="", TRAINER_IMAGE=_image(product)
    )
    product.until_no_trainer_lives()


_IMAGES: list[str] = []


def _image(product: Product) -> str:
    if not _IMAGES:
        env = product.gateway_pods()[0]["spec"]["containers"][0]["env"]
        _IMAGES.append(
            next(one["value"] for one in env if one["name"] == "LINNET_KUBERNETES_TRAINER_IMAGE")
        )
    return _IMAGES[0]


def failed(product: Product, run: run_pb2.Run) -> run_pb2.Failure:
    ended = product.until_ended(run, timeout_s=300)
    assert ended.state == run_pb2.RUN_STATE_FAILED, ended
    return ended.failure


def test_too_much_memory(product: Product) -> None:
    """A network larger than the run's memory ends as OUT_OF_MEMORY."""
    run = product.start(dense_units=(8192, 8192, 8192, 8192), memory_bytes=1024 * MIB)
    failure = failed(product, run)
    assert failure.reason == run_pb2.FAILURE_REASON_OUT_OF_MEMORY
    assert failure.out_of_memory


def test_a_script_that_raises(product: Product) -> None:
    """The script's own error is told, with its last lines."""
    failure = failed(product, product.start(script=_FAILING))
    assert failure.reason == run_pb2.FAILURE_REASON_SCRIPT_ERROR
    assert "missing layer" in failure.message + "\n".join(failure.log_tail)


def test_an_image_that_can_not_be_pulled(impatient: Product) -> None:
    """A wrong image name ends as IMAGE_PULL and names the image."""
    _image(impatient)
    impatient.set_gateway(TRAINER_IMAGE="localhost/no-such-trainer:1")
    failure = failed(impatient, impatient.start())
    assert failure.reason == run_pb2.FAILURE_REASON_IMAGE_PULL
    assert "localhost/no-such-trainer:1" in failure.message


def test_a_run_that_no_node_can_take(impatient: Product) -> None:
    """A run that asks for more CPU than any node has ends as UNSCHEDULABLE."""
    failure = failed(impatient, impatient.start(cpu_millis=8_000))
    assert failure.reason == run_pb2.FAILURE_REASON_UNSCHEDULABLE
    assert "Insufficient cpu" in failure.message


@pytest.mark.parametrize(
    ("exit_code", "reason"),
    [
        (64, run_pb2.FAILURE_REASON_LAUNCH_FAILED),
        (65, run_pb2.FAILURE_REASON_INVALID_DATA),
        (78, run_pb2.FAILURE_REASON_LAUNCH_FAILED),
    ],
)
def test_a_trainer_that_gives_up(
    product: Product, exit_code: int, reason: run_pb2.FailureReason
) -> None:
    """An exit code that means "do not retry" reaches the record with the trainer's last line."""
    code = f"import sys; print('gave up with {exit_code}'); sys.exit({exit_code})"
    command = json.dumps(["python3", "-c", code])
    try:
        product.set_gateway(TRAINER_COMMAND=command)
        failure = failed(product, product.start())
    finally:
        product.set_gateway(TRAINER_COMMAND="")
    assert failure.reason == reason
    assert failure.exit_code == exit_code
    assert failure.log_tail[-1] == f"gave up with {exit_code}"


def test_a_deadline(product: Product) -> None:
    """A run that takes longer than it may ends as DEADLINE_EXCEEDED."""
    failure = failed(product, product.start(epochs=50_000, deadline_s=20))
    assert failure.reason == run_pb2.FAILURE_REASON_DEADLINE_EXCEEDED
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
        product.kubectl("delete", "job", name, f"--namespace={RUNS}", "--wait=false")
    return len(names)


def test_a_job_deleted_by_hand_once(product: Product) -> None:
    """Somebody deletes the Job while it trains: the run is launched again and succeeds."""
    run = product.start(epochs=400)
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
    run = product.start(epochs=400)
    product.until_training(run)
    pods = [one for one in product.trainers() if one["kind"] == "Pod"]
    living = [one["metadata"]["name"] for one in pods if one["status"]["phase"] == "Running"]
    assert len(living) == 1, living
    where = (f"--namespace={RUNS}", "--wait=false", "--grace-period=0", "--force")
    product.kubectl("delete", "pod", living[0], *where)
    ended = product.until_ended(run, timeout_s=300)
    assert ended.state == run_pb2.RUN_STATE_SUCCEEDED, ended
    assert ended.attempt > 1
