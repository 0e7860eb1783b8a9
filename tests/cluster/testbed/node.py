"""The one node: containerd, kubelet, kube-proxy, and CoreDNS on its address."""

from __future__ import annotations

import json
from pathlib import Path

from . import images, network
from .controlplane import Credentials
from .places import CLUSTER_DOMAIN, NODE_ADDRESS, NODE_NAME, POD_CIDR, Places
from .processes import Processes

CONTAINERD = "containerd"
KUBELET = "kubelet"
KUBE_PROXY = "kube-proxy"
COREDNS = "coredns"
PAUSE_IMAGE = "localhost/linnet-testbed-pause:1"
# The controller manager cuts the first node's range of 256 addresses out of the pods' network.
_NODE_POD_CIDR = POD_CIDR.replace("/16", "/24")


def start_container_runtime(processes: Processes, places: Places) -> None:
    """Start containerd with folders, socket and pod network of its own."""
    network.write_pod_network(places.state / "cni", _NODE_POD_CIDR)
    places.containerd_root.mkdir(parents=True, exist_ok=True)
    configuration = places.state / "containerd.toml"
    configuration.write_text(_containerd_configuration(places))
    processes.start(CONTAINERD, ["containerd", "--config", configuration])


def _containerd_configuration(places: Places) -> str:
    cri = 'plugins."io.containerd.grpc.v1.cri"'
    return f"""version = 2
root = "{places.containerd_root}"
state = "{places.state / "containerd"}"

[grpc]
address = "{places.containerd_socket}"

[{cri}]
sandbox_image = "{PAUSE_IMAGE}"
# Without CAP_SYS_RESOURCE a sandbox can't lower its score, and runc dies of it.
restrict_oom_score_adj = true
netns_mounts_under_state_dir = true

[{cri}.cni]
bin_dir = "/usr/lib/cni"
conf_dir = "{places.state / "cni"}"

[{cri}.containerd.runtimes.runc]
runtime_type = "io.containerd.runc.v2"

[plugins."io.containerd.internal.v1.opt"]
path = "{places.state / "opt"}"
"""


def start_kubelet(
    processes: Processes, programs: Path, places: Places, credentials: Credentials
) -> None:
    """Start kubelet; its API asks the API server who calls and what they may do."""
    resolver = places.state / "resolv.conf"
    resolver.write_text("")
    configuration = places.state / "kubelet.json"
    configuration.write_text(
        json.dumps(_kubelet_configuration(places, credentials, resolver), indent=2)
    )
    command: list[str | Path] = [
        programs / "kubelet",
        f"--config={configuration}",
        f"--kubeconfig={credentials.kubeconfig('kubelet')}",
        f"--root-dir={places.state / 'kubelet'}",
        f"--hostname-override={NODE_NAME}",
        f"--node-ip={NODE_ADDRESS}",
    ]
    processes.start(KUBELET, command)


def _kubelet_configuration(
    places: Places, credentials: Credentials, resolver: Path
) -> dict[str, object]:
    return {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "authentication": {
            "anonymous": {"enabled": False},
            "webhook": {"enabled": True},
            "x509": {"clientCAFile": str(credentials.certificate("authority"))},
        },
        "authorization": {"mode": "Webhook"},
        "tlsCertFile": str(credentials.certificate("kubelet")),
        "tlsPrivateKeyFile": str(credentials.key("kubelet")),
        "containerRuntimeEndpoint": f"unix://{places.containerd_socket}",
        "cgroupDriver": "cgroupfs",
        "cgroupRoot": f"/{places.control_group}",
        "failSwapOn": False,
        "enforceNodeAllocatable": ["pods"],
        "clusterDNS": [NODE_ADDRESS],
        "clusterDomain": CLUSTER_DOMAIN,
        "resolvConf": str(resolver),
        "podLogsDir": str(places.state / "pods"),
        "volumePluginDir": str(places.state / "volume-plugins"),
        # A developer's disk is often nearly full, and no registry could give an image back.
        "evictionHard": {
            "memory.available": "100Mi",
            "nodefs.available": "1%",
            "nodefs.inodesFree": "1%",
            "imagefs.available": "1%",
        },
        "imageGCHighThresholdPercent": 100,
        "imageGCLowThresholdPercent": 99,
        "nodeStatusUpdateFrequency": "2s",
        # How soon a full emptyDir is noticed; usually a minute.
        "volumeStatsAggPeriod": "5s",
        "serializeImagePulls": False,
    }


def start_proxy(
    processes: Processes, programs: Path, places: Places, credentials: Credentials
) -> None:
    """Start kube-proxy, which makes service addresses work."""
    configuration = places.state / "kube-proxy.json"
    content = {
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
        "kind": "KubeProxyConfiguration",
        "clientConnection": {"kubeconfig": str(credentials.kubeconfig("kube-proxy"))},
        "mode": "iptables",
        "clusterCIDR": POD_CIDR,
        "hostnameOverride": NODE_NAME,
        "iptables": {"minSyncPeriod": "100ms"},
        # The limits belong to the machine and not to the namespace.
        "conntrack": {"maxPerCore": 0, "min": 0},
    }
    configuration.write_text(json.dumps(content, indent=2))
    processes.start(KUBE_PROXY, [programs / "kube-proxy", f"--config={configuration}"])


def start_name_service(
    processes: Processes, program: Path, places: Places, credentials: Credentials
) -> None:
    """Start CoreDNS on the node's address: the cluster's names, and no others."""
    configuration = places.state / "Corefile"
    configuration.write_text(
        f"""{CLUSTER_DOMAIN}:53 in-addr.arpa:53 ip6.arpa:53 {{
    bind {NODE_ADDRESS}
    errors
    ready 127.0.0.1:8181
    kubernetes {CLUSTER_DOMAIN} in-addr.arpa ip6.arpa {{
        kubeconfig {credentials.kubeconfig("coredns")}
        pods insecure
        ttl 1
    }}
}}
.:53 {{
    bind {NODE_ADDRESS}
    errors
    template ANY ANY . {{
        rcode NXDOMAIN
    }}
}}
"""
    )
    processes.start(COREDNS, [program, "-conf", configuration])


def forget_containers(processes: Processes, places: Places) -> None:
    """Remove what containerd remembers of an earlier life's containers, which have ended.

    It runs without its CRI plugin, which would try to bring them back.
    """
    configuration = places.state / "containerd-bare.toml"
    configuration.write_text(
        'disabled_plugins = ["io.containerd.grpc.v1.cri"]\n' + _containerd_configuration(places)
    )
    places.containerd_socket.unlink(missing_ok=True)
    processes.hold_namespaces()
    processes.start(CONTAINERD, ["containerd", "--config", configuration])
    processes.await_ready(CONTAINERD, places.containerd_socket.exists, 30.0)
    containers = processes.run([*images.ctr(places), "containers", "list", "--quiet"]).split()
    if containers:
        processes.run([*images.ctr(places), "containers", "delete", *containers])
