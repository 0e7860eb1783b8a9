"""A trainer pod that does nothing until a test ends it; it needs Python and no Linnet."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from linnet_gateway.kubernetes.settings import KubernetesSettings
from testbed.faults import TestbedFault
from testbed.kubectl import Kubectl
from testbed.patience import wait_until

_CODE = """
import os, signal, sys, time
signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
print("shard", os.environ["JOB_COMPLETION_INDEX"], "waits", flush=True)
while not os.path.exists("/tmp/exit"):
    time.sleep(0.05)
code = int(open("/tmp/exit").read())
print("the last line before exit", code, flush=True)
if code == 137:
    held = bytearray()
    while True:
        held += b"x" * (1 << 22)
sys.exit(code)
"""

COMMAND = ("python3", "-u", "-c", _CODE)
"""What the container runs; a test tells it to exit 137 to make it use up its memory."""


def stub_settings(
    kubectl: Kubectl, image: str, namespace: str, **changes: object
) -> KubernetesSettings:
    """Settings under which the launcher runs stub trainers in a namespace that was just made."""

    def account_made() -> bool:
        listed = kubectl.get("serviceaccounts", f"--namespace={namespace}")
        return bool(listed["items"])

    wait_until(account_made, 30, "the namespace has its default service account")
    values: dict[str, object] = {
        "kubeconfig": kubectl.kubeconfig,
        "namespace": namespace,
        "trainer_image": image,
        "trainer_command": COMMAND,
        "image_pull_policy": "IfNotPresent",
        "service_account": "default",
        "gateway_address": "gateway.invalid:1",
        "grace_s": 1,
    }
    return KubernetesSettings.model_validate(values | changes)


def clear_jobs(kubectl: Kubectl, namespace: str) -> None:
    """Delete every Job of a namespace that is about to be deleted.

    Kubernetes deletes pods first and keeps a failed shard's last pod until its replacement is made,
    which a namespace that ends refuses: it would wait until the Job's deadline.
    """
    kubectl("delete", "jobs", "--all", f"--namespace={namespace}", "--wait=false")


class StubPods:
    """The stub trainers of one namespace."""

    def __init__(self, kubectl: Kubectl, namespace: str) -> None:
        self._kubectl = kubectl
        self._namespace = namespace

    async def of(self, uid: str) -> dict[int, list[Mapping[str, Any]]]:
        """Pods of a launch by index, the oldest first."""
        selector = f"--selector=linnet.dev/launch={uid}"
        listed = await asyncio.to_thread(
            self._kubectl.get, "pods", f"--namespace={self._namespace}", selector
        )
        found: dict[int, list[Mapping[str, Any]]] = {}
        for pod in sorted(listed["items"], key=lambda one: one["metadata"]["creationTimestamp"]):
            index = int(pod["metadata"]["labels"]["batch.kubernetes.io/job-completion-index"])
            found.setdefault(index, []).append(pod)
        return found

    async def remains(self, uid: str) -> list[str]:
        """Name every object of a launch, as kind/name."""
        where = (f"--namespace={self._namespace}", f"--selector=linnet.dev/launch={uid}")
        listed = await asyncio.to_thread(self._kubectl.get, "jobs,pods,secrets", *where)
        return [f"{one['kind']}/{one['metadata']['name']}" for one in listed["items"]]

    async def running(self, uid: str) -> list[int]:
        """Indices with a pod that runs."""
        pods = await self.of(uid)
        return sorted(index for index, some in pods.items() if any(map(_runs, some)))

    async def name(self, uid: str, index: int) -> str:
        """Name of the trainer that a shard runs: the uid of its pod."""
        pods = (await self.of(uid))[index]
        return str(next(pod for pod in pods if _runs(pod))["metadata"]["uid"])

    async def finish(self, uid: str, index: int, exit_code: int) -> None:
        """Make the living trainer of a shard exit with that code."""
        pod = next(pod for pod in (await self.of(uid))[index] if _runs(pod))
        # Renamed into place, so that the trainer never reads half of it.
        write = (
            f"import os; open('/tmp/said', 'w').write('{exit_code}'); "
            "os.rename('/tmp/said', '/tmp/exit')"
        )
        command = [pod["metadata"]["name"], "--", "python3", "-c", write]
        try:
            await asyncio.to_thread(
                self._kubectl, "exec", f"--namespace={self._namespace}", *command
            )
        except TestbedFault as fault:
            # The trainer may end, and take this with it, before the answer comes.
            if "exit code 137" not in str(fault):
                raise


def _runs(pod: Mapping[str, Any]) -> bool:
    status = pod["status"]
    ready = any(one.get("ready") for one in status.get("containerStatuses", ()))
    return status.get("phase") == "Running" and ready and "deletionTimestamp" not in pod["metadata"]
