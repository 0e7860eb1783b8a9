"""What an engine that enforces NetworkPolicies would let through, by Kubernetes' own rules. Pure.

The testbed has no such engine. Engines differ in one point that the API leaves open: whether an
ipBlock also means pods that have such an address. A way that must be open is judged by the engine
that lets less through, a way that must be shut by the one that lets more through.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from ipaddress import ip_address, ip_network
from typing import Any

from tests.support.chart_objects import Manifest

_NAMESPACE_NAME = "kubernetes.io/metadata.name"


@dataclass(frozen=True, slots=True)
class Place:
    """One end of a connection.

    Attributes:
        address: Its own, as seen after a Service's has been replaced.
        namespace: Of the pod; empty for what is no pod: a host, or the world.
        labels: Of the pod.
    """

    address: str = "10.244.0.77"
    namespace: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Engine:
    """Judges connections.

    Attributes:
        policies: NetworkPolicies of the cluster.
        namespace: Of policies that name none.
        blocks_mean_pods: Whether an ipBlock also means pods.
    """

    policies: tuple[Manifest, ...]
    namespace: str
    blocks_mean_pods: bool

    def passes(self, source: Place, target: Place, port: int, protocol: str = "TCP") -> bool:
        """Say whether both ends let the connection through."""
        leaves = self._opened("Egress", source, target, port, protocol)
        return leaves and self._opened("Ingress", target, source, port, protocol)

    def _opened(self, way: str, own: Place, other: Place, port: int, protocol: str) -> bool:
        mine = [one for one in self.policies if self._takes(one, own, way)]
        if not mine:
            return True
        peers = "to" if way == "Egress" else "from"
        return any(
            _has_port(rule.get("ports"), port, protocol)
            and self._has_peer(rule.get(peers), other, self._namespace_of(one))
            for one in mine
            for rule in one["spec"].get(way.lower(), ())
        )

    def _takes(self, policy: Manifest, place: Place, way: str) -> bool:
        spec = policy["spec"]
        return (
            place.namespace == self._namespace_of(policy)
            and way in spec["policyTypes"]
            and _selects(spec["podSelector"], place.labels)
        )

    def _namespace_of(self, policy: Manifest) -> str:
        return str(policy["metadata"].get("namespace", self.namespace))

    def _has_peer(self, peers: Iterable[Any] | None, place: Place, namespace: str) -> bool:
        # No peers mean everybody, as does an empty list of them.
        return not peers or any(self._is_peer(peer, place, namespace) for peer in peers)

    def _is_peer(self, peer: Mapping[str, Any], place: Place, namespace: str) -> bool:
        block = peer.get("ipBlock")
        if block is not None:
            here = ip_address(place.address)
            inside = here in ip_network(block["cidr"])
            kept_out = any(here in ip_network(one) for one in block.get("except", ()))
            return inside and not kept_out and (self.blocks_mean_pods or not place.namespace)
        if not place.namespace:
            return False
        if "namespaceSelector" in peer:
            there = _selects(peer["namespaceSelector"], {_NAMESPACE_NAME: place.namespace})
        else:
            there = place.namespace == namespace
        return there and _selects(peer.get("podSelector", {}), place.labels)


def _has_port(ports: Iterable[Mapping[str, Any]] | None, port: int, protocol: str) -> bool:
    return not ports or any(
        one.get("protocol", "TCP") == protocol and one.get("port", port) == port for one in ports
    )


def _selects(selector: Mapping[str, Any], labels: Mapping[str, str]) -> bool:
    held = {
        "In": lambda value, values: value in values,
        "NotIn": lambda value, values: value not in values,
        "Exists": lambda value, _: value is not None,
        "DoesNotExist": lambda value, _: value is None,
    }
    return selector.get("matchLabels", {}).items() <= labels.items() and all(
        held[one["operator"]](labels.get(one["key"]), one.get("values", ()))
        for one in selector.get("matchExpressions", ())
    )
