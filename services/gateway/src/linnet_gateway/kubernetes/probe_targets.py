"""What the probe tries to reach: a trainer's only way, and places that are shut to it."""

from collections.abc import Mapping
from typing import Any

from linnet_gateway.kubernetes import marks
from linnet_gateway.kubernetes.checkup import Installation
from linnet_gateway.kubernetes.client import Api

GATEWAY = "gateway"
"""The gateway's port for trainers; all else is shut."""
NEIGHBOURS = {
    "gateway's public port": "gateway",
    "evaluator": "evaluator",
    "profiler": "profiler",
}
"""Ports of the release's own pods, by component. They listen, so that one which can't be reached
shows that policies are enforced."""
NAME_SERVERS = "name servers outside the cluster"
SHUT = (*NEIGHBOURS, "api server", "node metadata", "internet", NAME_SERVERS)

_METADATA = "169.254.169.254:80"
"""Where clouds keep the credentials of a node."""
_INTERNET = "1.1.1.1:443"
_NAME_SERVER = "1.1.1.1:53"
_NAME = "example.com"
_PORT = "grpc"


async def find_targets(api: Api, installation: Installation) -> dict[str, Any]:
    """Say what the probe's script is to try, as it reads it.

    Neighbours are tried by the addresses of their pods, since scripts may have no name service; one
    that has no ready pod is left out.
    """
    settings = installation.settings
    server = await api.get("/api/v1/namespaces/default/services/kubernetes")
    pods = await api.list(
        f"/api/v1/namespaces/{installation.namespace}/pods",
        labelSelector=f"{marks.NAME}=linnet,{marks.INSTANCE}={settings.instance}",
    )
    found = [_served(pod) for pod in pods.items]
    neighbours = {
        name: address
        for name, component in NEIGHBOURS.items()
        for address in [one[component] for one in found if component in one][:1]
    }
    return {
        "reach": {
            GATEWAY: settings.gateway_address,
            **neighbours,
            "api server": _address(server["spec"]["clusterIP"], 443),
            "node metadata": _METADATA,
            "internet": _INTERNET,
            NAME_SERVERS: _NAME_SERVER,
        },
        "ask": {NAME_SERVERS: _NAME_SERVER},
        "resolve": _NAME,
    }


def _served(pod: Mapping[str, Any]) -> dict[str, str]:
    """Address of a pod's gRPC port by the pod's component; nothing while it isn't ready."""
    conditions = pod.get("status", {}).get("conditions") or ()
    ready = any(one["type"] == "Ready" and one["status"] == "True" for one in conditions)
    ports = [
        port["containerPort"]
        for container in pod["spec"]["containers"]
        for port in container.get("ports") or ()
        if port.get("name") == _PORT
    ]
    if not ready or not ports:
        return {}
    component = pod["metadata"]["labels"].get(marks.COMPONENT, "")
    return {component: _address(pod["status"]["podIP"], ports[0])}


def _address(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
