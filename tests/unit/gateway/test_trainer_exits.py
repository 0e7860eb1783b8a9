"""Exit codes of trainers mean the same wherever a trainer runs."""

from __future__ import annotations

from pathlib import Path

import pytest
from linnet_gateway.kubernetes.manifests import build_job
from linnet_gateway.kubernetes.settings import KubernetesSettings
from linnet_gateway.kubernetes.terminations import pod_failure
from linnet_gateway.launches.launcher import Launch, ShardState
from linnet_gateway.launches.trainer_exits import OUTCOMES, final_codes, outcome_of
from linnet_gateway.process.exits import failure_of
from linnet_gateway.process.shard import Shard
from linnet_gateway.states import FailureReason
from linnet_runtime.lifecycle import ExitCode

FAILURES = [code for code in ExitCode if code is not ExitCode.OK]
OTHERS = [2, 42, 134, 139, 255]


def a_launch() -> Launch:
    return Launch(
        uid="l-one",
        project="demo",
        shard_count=1,
        parallelism=1,
        token="secret-launch-token",
        deadline=None,
        cpu_millis=500,
        memory_bytes=512 * 1024**2,
        expert=False,
        labels={},
        spec_digest="d" * 64,
    )


def a_pod(exit_code: int) -> dict[str, object]:
    state = {"terminated": {"exitCode": exit_code, "reason": "Error"}}
    return {
        "status": {"phase": "Failed", "containerStatuses": [{"name": "trainer", "state": state}]}
    }


def test_every_exit_code_has_an_outcome() -> None:
    """No code of the enum but success is left to a guess."""
    assert set(OUTCOMES) == set(FAILURES)


@pytest.mark.parametrize("exit_code", [*FAILURES, *OTHERS])
def test_both_launchers_give_the_outcome_of_the_table(exit_code: int) -> None:
    """A process and a pod that end by the same code fail for the same reason, in the same words."""
    expected = outcome_of(exit_code)
    process = failure_of(exit_code, (), out_of_memory=False)
    pod = pod_failure(a_pod(exit_code))
    assert pod is not None
    assert (process.reason, process.message) == (expected.reason, expected.message)
    assert (pod.reason, pod.message) == (expected.reason, expected.message)
    assert str(int(exit_code)) in expected.message


def test_the_jobs_failure_policy_is_the_table() -> None:
    """A Job fails an index at exactly the codes whose outcome is not retried."""
    settings = KubernetesSettings.model_validate(
        {"trainer_image": "trainer:1", "gateway_address": "gateway:1"}
    )
    rules = build_job(a_launch(), settings)["spec"]["podFailurePolicy"]["rules"]
    final = [int(code) for code in ExitCode if code in OUTCOMES and not OUTCOMES[code].retried]
    assert [rule["action"] for rule in rules] == ["Ignore", "FailIndex"]
    assert rules[1]["onExitCodes"]["values"] == list(final_codes()) == final == [64, 65, 78]


@pytest.mark.parametrize("exit_code", [*FAILURES, *OTHERS])
def test_a_process_is_started_again_as_the_table_says(tmp_path: Path, exit_code: int) -> None:
    """The process launcher ends a shard at once by the codes at which a Job fails its index."""
    shard = Shard(tmp_path, 0, retries=3)
    shard.start(["/bin/sh", "-c", f"exit {int(exit_code)}"], {})
    child = shard._child
    assert child is not None
    child.wait()
    shard.settle()
    state = shard.status().state
    assert state is (ShardState.PENDING if outcome_of(exit_code).retried else ShardState.FAILED)


def test_a_wrong_launch_is_not_the_runs_fault() -> None:
    """Settings or a token that the trainer refuses fail the launch, on both launchers."""
    for code in (ExitCode.USAGE, ExitCode.BAD_CONFIG):
        assert outcome_of(code).reason is FailureReason.LAUNCH_FAILED


def test_a_trainer_that_was_asked_to_stop_did_not_crash() -> None:
    """SIGTERM, with or without a checkpoint, reads as an eviction and the shard goes on."""
    for code in (ExitCode.TERMINATED, ExitCode.CHECKPOINT_LOST):
        assert outcome_of(code).reason is FailureReason.EVICTED
        assert outcome_of(code).retried
