"""Runs the probe's script as a trainer would run."""

import asyncio
import json
import secrets
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

from linnet_runtime.clock import Clock
from linnet_runtime.errors import LinnetError, Unavailable

from linnet_gateway.kubernetes import marks
from linnet_gateway.kubernetes.checkup import Finding, Installation
from linnet_gateway.kubernetes.client import Api
from linnet_gateway.kubernetes.evidence import need_of, weigh_pods
from linnet_gateway.kubernetes.jobstatus import Evidence
from linnet_gateway.kubernetes.manifests import build_job, build_secret
from linnet_gateway.kubernetes.obstacles import Patience
from linnet_gateway.kubernetes.probe_findings import Node, judge
from linnet_gateway.kubernetes.probe_targets import find_targets
from linnet_gateway.kubernetes.settings import MIB
from linnet_gateway.launches.launcher import Launch

Object = Mapping[str, Any]

_SCRIPT = Path(__file__).with_name("probe_script.py")
_LIMIT_S = 180


async def probe(api: Api, installation: Installation, clock: Clock) -> list[Finding]:
    """Run the script in a Job like a trainer's, remove the Job, and judge what it found.

    Raises:
        Unavailable: The pod did not end in time; says why if the cluster does.
    """
    settings = installation.settings
    expert = bool(settings.expert_runtime_class or settings.expert_without_sandbox)
    asked = await find_targets(api, installation)
    job, secret = _manifests(installation, asked, expert=expert)
    jobs = f"/apis/batch/v1/namespaces/{settings.namespace}/jobs"
    made = await api.create(jobs, job)
    try:
        owner = {"apiVersion": "batch/v1", "kind": "Job", "name": job["metadata"]["name"]}
        secret["metadata"]["ownerReferences"] = [owner | {"uid": made["metadata"]["uid"]}]
        await api.create(f"/api/v1/namespaces/{settings.namespace}/secrets", secret)
        await api.merge(f"{jobs}/{job['metadata']['name']}", {"spec": {"suspend": False}})
        said, node_name = await _result(api, installation, job["metadata"]["name"], clock)
    finally:
        await api.delete(f"{jobs}/{job['metadata']['name']}")
    return judge(said, await _node(api, node_name), installation)


async def _node(api: Api, name: str) -> Node:
    node = await api.get(f"/api/v1/nodes/{name}")
    try:
        config = await api.get(f"/api/v1/nodes/{name}/proxy/configz")
        # The kubelet says -1 where it sets no limit.
        pids_limit = max(0, int(config["kubeletconfig"]["podPidsLimit"]))
    except (LinnetError, KeyError, ValueError, TypeError):
        pids_limit = None
    return Node(name, node["status"]["nodeInfo"]["kernelVersion"], pids_limit)


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
                        return json.loads(text), pod["spec"]["nodeName"]
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
