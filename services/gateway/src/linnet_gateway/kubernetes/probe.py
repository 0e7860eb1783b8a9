"""Runs the probe script as a trainer would run, and says what it could do and reach."""

import asyncio
import json
import secrets
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

from linnet_runtime.clock import Clock
from linnet_runtime.errors import Unavailable

from linnet_gateway.kubernetes import marks
from linnet_gateway.kubernetes.checkup import Finding, Installation, Verdict
from linnet_gateway.kubernetes.client import Api
from linnet_gateway.kubernetes.evidence import need_of, weigh_pods
from linnet_gateway.kubernetes.jobstatus import Evidence
from linnet_gateway.kubernetes.manifests import build_job, build_secret
from linnet_gateway.kubernetes.obstacles import Patience
from linnet_gateway.kubernetes.settings import MIB, KubernetesSettings
from linnet_gateway.launches.launcher import Launch

Object = Mapping[str, Any]

_SCRIPT = Path(__file__).with_name("probe_script.py")
_METADATA = "169.254.169.254:80"
"""Where clouds keep the credentials of a node."""
_INTERNET = "1.1.1.1:443"
_NAME = "example.com"
_LIMIT_S = 180
_ENGINE = "a network plug-in that enforces NetworkPolicies"
_LANDLOCK = "Landlock in the node's kernel: Linux 5.13 or later, enabled at boot"
_SECCOMP_FILTER = "2"


async def probe(api: Api, installation: Installation, clock: Clock) -> list[Finding]:
    """Run the script in a Job like a trainer's, remove the Job, and judge what it found.

    Raises:
        Unavailable: The pod did not end in time; says why if the cluster does.
    """
    settings = installation.settings
    expert = bool(settings.expert_runtime_class or settings.expert_without_sandbox)
    server = await api.get("/api/v1/namespaces/default/services/kubernetes")
    asked = {
        "reach": {
            "gateway": settings.gateway_address,
            "api server": f"{server['spec']['clusterIP']}:443",
            "node metadata": _METADATA,
            "internet": _INTERNET,
        },
        "resolve": _NAME,
    }
    job, secret = _manifests(installation, asked, expert=expert)
    jobs = f"/apis/batch/v1/namespaces/{settings.namespace}/jobs"
    made = await api.create(jobs, job)
    try:
        owner = {"apiVersion": "batch/v1", "kind": "Job", "name": job["metadata"]["name"]}
        secret["metadata"]["ownerReferences"] = [owner | {"uid": made["metadata"]["uid"]}]
        await api.create(f"/api/v1/namespaces/{settings.namespace}/secrets", secret)
        await api.merge(f"{jobs}/{job['metadata']['name']}", {"spec": {"suspend": False}})
        said, node_kernel = await _result(api, installation, job["metadata"]["name"], clock)
    finally:
        await api.delete(f"{jobs}/{job['metadata']['name']}")
    return judge(said, node_kernel, installation)


def judge(said: Object, node_kernel: str, installation: Installation) -> list[Finding]:
    """Say what the script's findings mean."""
    settings = installation.settings
    reach: Mapping[str, bool] = said["reach"]
    findings = [
        Finding(
            "trainers reach the gateway",
            Verdict.OK if reach["gateway"] else Verdict.FAILED,
            settings.gateway_address,
        )
    ]
    findings += [
        _denied(f"trainers can't reach the {name}", denied=not reach[name], rests_on=_ENGINE)
        for name in ("api server", "node metadata", "internet")
    ]
    if settings.expert_host_aliases:
        findings.append(
            _denied("scripts have no name service", denied=not said["resolves"], rests_on=_ENGINE)
        )
    confined = (
        said["user"] != 0
        and said["no_new_privileges"]
        and not said["capabilities"]
        and said["seccomp"] in {_SECCOMP_FILTER, ""}
    )
    findings += [
        _denied("trainers have no privileges", denied=confined, rests_on="the Linux kernel"),
        _denied("the root file system is read-only", denied=not said["root_writable"]),
        _denied("trainers hold no API-server token", denied=not said["api_token"]),
        Finding(
            "trainers can write to /tmp",
            Verdict.OK if said["scratch_writable"] else Verdict.FAILED,
            "",
        ),
        _landlock(said["landlock"], settings),
    ]
    if settings.expert_runtime_class:
        apart = said["kernel"] != node_kernel
        findings.append(
            Finding(
                "scripts have a kernel of their own",
                Verdict.OK if apart else Verdict.WARNING,
                f"pod {said['kernel']}, node {node_kernel}",
                f"RuntimeClass {settings.expert_runtime_class}",
            )
        )
    return findings


def _landlock(abi: int, settings: KubernetesSettings) -> Finding:
    """Judge what keeps a script from the trainer's own files, which share its pod."""
    check = "scripts can be confined inside their pod"
    if abi:
        return Finding(check, Verdict.OK, f"Landlock version {abi}", _LANDLOCK)
    alone = settings.expert_without_sandbox and not settings.expert_runtime_class
    detail = "without Landlock a script can read its own run's token"
    return Finding(check, Verdict.FAILED if alone else Verdict.WARNING, detail, _LANDLOCK)


def _denied(check: str, *, denied: bool, rests_on: str = "") -> Finding:
    detail = "" if denied else "this protection does not hold on this cluster"
    return Finding(check, Verdict.OK if denied else Verdict.FAILED, detail, rests_on)


def _manifests(
    installation: Installation, asked: Object, *, expert: bool
) -> tuple[dict[str, Any], dict[str, Any]]:
    launch = Launch(
        uid=f"doctor-{secrets.token_hex(4)}",
        project="doctor",
        shard_count=1,
        parallelism=1,
        token="none",  # noqa: S106 - the probe asks the gateway for nothing
        deadline=timedelta(seconds=_LIMIT_S),
        cpu_millis=100,
        memory_bytes=128 * MIB,
        expert=expert,
        labels={},
        spec_digest="",
    )
    settings = installation.settings.model_copy(
        update={"trainer_command": ("python3", "-c", _SCRIPT.read_text(encoding="utf-8"))}
    )
    job = build_job(launch, settings)
    # Policies know the pod as a trainer; the gateway, which goes by its Jobs, does not know it.
    job["metadata"]["labels"] = {marks.NAME: "linnet-doctor"}
    job["spec"]["ttlSecondsAfterFinished"] = _LIMIT_S
    container = job["spec"]["template"]["spec"]["containers"][0]
    container["env"].append({"name": "LINNET_PROBE", "value": json.dumps(asked)})
    return job, build_secret(launch, "", settings)


async def _result(
    api: Api, installation: Installation, job_name: str, clock: Clock
) -> tuple[Object, str]:
    namespace = f"/api/v1/namespaces/{installation.settings.namespace}"
    patience = Patience(image_pull_s=30, unschedulable_s=60, quota_s=10, start_s=90)
    why = "its pod was never made"
    try:
        async with asyncio.timeout(_LIMIT_S):
            while True:
                listing = await api.list(
                    f"{namespace}/pods", labelSelector=f"batch.kubernetes.io/job-name={job_name}"
                )
                for pod in listing.items:
                    if pod["status"].get("phase") == "Succeeded":
                        text = await api.text(f"{namespace}/pods/{pod['metadata']['name']}/log")
                        node = await api.get(f"/api/v1/nodes/{pod['spec']['nodeName']}")
                        return json.loads(text), node["status"]["nodeInfo"]["kernelVersion"]
                job = await api.get(
                    f"/apis/batch/v1/namespaces/{installation.settings.namespace}/jobs/{job_name}"
                )
                evidence = weigh_pods(
                    listing.items,
                    [],
                    need=need_of(job, clock.now()),
                    patience=patience,
                    now=clock.now(),
                    earlier=Evidence(),
                )
                failure = evidence.obstacle or evidence.failures.get(0)
                if failure is not None:
                    raise Unavailable(f"the probe could not run: {failure.message}")
                why = "its pod did not end"
                await clock.sleep(1.0)
    except TimeoutError as error:
        raise Unavailable(f"the probe did not end in {_LIMIT_S} s: {why}") from error
