"""One connection to a cluster and what the gateway does over it: launching and leading."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass

from linnet_runtime.clock import Clock
from prometheus_client import CollectorRegistry

from linnet_gateway.kubernetes.ceilings import KubernetesCeilings
from linnet_gateway.kubernetes.client import Api
from linnet_gateway.kubernetes.launcher import KubernetesLauncher
from linnet_gateway.kubernetes.lease import KubernetesLease, held_lease
from linnet_gateway.kubernetes.patient_calls import ApiMetrics
from linnet_gateway.kubernetes.settings import KubernetesSettings
from linnet_gateway.kubernetes.watch import WatchMetrics


@dataclass(frozen=True, slots=True)
class Cluster:
    """What the gateway uses of a cluster.

    Attributes:
        launcher: Starts trainers as Jobs.
        lease: Says whether this replica reconciles.
        ceilings: What runs may ask for, so that they are refused before they are launched.
    """

    launcher: KubernetesLauncher
    lease: KubernetesLease
    ceilings: KubernetesCeilings


@asynccontextmanager
async def open_cluster(
    settings: KubernetesSettings, identity: str, registry: CollectorRegistry, clock: Clock
) -> AsyncIterator[Cluster]:
    """Connect, watch Jobs and take part in the election as long as the context lasts.

    Args:
        settings: Where and how.
        identity: Tells this replica from the others; a pod's name.
        registry: Where figures go.
        clock: Time.

    Raises:
        Unavailable: There are no credentials for a cluster.
    """
    async with await Api.connect(settings, ApiMetrics(registry), clock) as api:
        launcher = KubernetesLauncher(api, settings, WatchMetrics(registry), clock)
        lease = KubernetesLease(api, settings, identity, clock, registry)
        watching = asyncio.create_task(launcher.run(), name="kubernetes-watch")
        try:
            async with held_lease(lease):
                yield Cluster(launcher, lease, KubernetesCeilings(settings))
        finally:
            watching.cancel()
            with suppress(asyncio.CancelledError):
                await watching
