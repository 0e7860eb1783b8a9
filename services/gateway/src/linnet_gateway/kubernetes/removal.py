"""Ends what an installation launched before the installation itself goes.

`helm uninstall` runs it as a hook. Without it trainers would outlive their gateway; and a namespace
that is deleted with its Jobs would stay for hours: Kubernetes deletes the pods first, and a Job
keeps the last pod of a failed shard until it has made another, which an ending namespace refuses.
"""

import asyncio
import sys

import structlog
from linnet_runtime import logs
from linnet_runtime.clock import Clock, SystemClock
from linnet_runtime.errors import LinnetError, Unavailable
from linnet_runtime.lifecycle import ExitCode
from prometheus_client import CollectorRegistry

from linnet_gateway.kubernetes import marks
from linnet_gateway.kubernetes.client import Api
from linnet_gateway.kubernetes.patient_calls import ApiMetrics
from linnet_gateway.kubernetes.settings import KubernetesSettings

_LOOK_AGAIN_S = 0.5
_LIMIT_S = 240.0


async def remove_launches(api: Api, settings: KubernetesSettings, clock: Clock) -> None:
    """Delete the installation's Jobs and wait until they and their pods are gone.

    The gateway, which may still run, loses its rights first, so that it launches nothing again.

    Raises:
        LinnetError: A right is missing, or the API server can't be reached.
        Unavailable: Something was still there after four minutes.
    """
    log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)
    namespace = settings.namespace
    rights = f"/apis/rbac.authorization.k8s.io/v1/namespaces/{namespace}/rolebindings"
    jobs = f"/apis/batch/v1/namespaces/{namespace}/jobs"
    pods = f"/api/v1/namespaces/{namespace}/pods"
    leases = f"/apis/coordination.k8s.io/v1/namespaces/{settings.lease_namespace or namespace}"
    selector = marks.selector(settings.instance)
    # The chart names both after the gateway.
    await api.delete(f"{rights}/{settings.lease_name}")
    deadline = clock.monotonic() + _LIMIT_S
    quiet = 0
    # A call of the gateway may have been under way when it lost its rights: look twice.
    while quiet < 2:  # noqa: PLR2004 - twice
        found = (await api.list(jobs, labelSelector=selector)).items
        for job in found:
            if not job["metadata"].get("deletionTimestamp"):
                await api.delete(f"{jobs}/{job['metadata']['name']}", "Foreground")
                log.info("launch_removed", job=job["metadata"]["name"])
        left = len(found) + len((await api.list(pods, labelSelector=selector)).items)
        quiet = 0 if left else quiet + 1
        if clock.monotonic() > deadline:
            raise Unavailable(f"namespace {namespace!r}: {left} Jobs and pods do not go")
        await clock.sleep(_LOOK_AGAIN_S)
    await api.delete(f"{leases}/leases/{settings.lease_name}")


async def _remove(settings: KubernetesSettings) -> None:
    clock = SystemClock()
    async with await Api.connect(settings, ApiMetrics(CollectorRegistry()), clock) as api:
        await remove_launches(api, settings, clock)


def main() -> int:
    """Remove the launches of the installation that the LINNET_KUBERNETES_* variables describe."""
    logs.configure("INFO")
    try:
        asyncio.run(_remove(KubernetesSettings.read()))
    except LinnetError as error:
        structlog.get_logger(__name__).error("not_removed", error=error.message)
        return ExitCode.CRASHED
    return ExitCode.OK


if __name__ == "__main__":
    sys.exit(main())
