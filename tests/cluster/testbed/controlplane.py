"""The control plane, etcd to scheduler, and the certificates between its parts."""

from __future__ import annotations

import datetime as dt
import json
from dataclasses import dataclass
from pathlib import Path

from .access import API_PORT, write_kubeconfig
from .certificates import Authority, KeyPair, signing_pair
from .places import (
    CLUSTER_DOMAIN,
    KUBERNETES_SERVICE_ADDRESS,
    NODE_ADDRESS,
    NODE_NAME,
    POD_CIDR,
    SERVICE_CIDR,
    Places,
)
from .processes import Processes

ETCD = "etcd"
API_SERVER = "kube-apiserver"
CONTROLLER_MANAGER = "kube-controller-manager"
SCHEDULER = "kube-scheduler"
# The defaults (20 a second) hold a batch of 200 shards back by 18 s.
_CLIENT_QPS = 300
_CLIENT_BURST = 600
_CONCURRENT_JOB_SYNCS = 20
_KUBELET_CLIENT = "kube-apiserver-kubelet-client"
_COREDNS_USER = "linnet:coredns"


@dataclass(frozen=True, slots=True)
class Credentials:
    """What `issue` wrote: one kubeconfig a component, and the pairs that servers show."""

    folder: Path

    def certificate(self, name: str) -> Path:
        """Certificate file of `name`."""
        return self.folder / f"{name}.crt"

    def key(self, name: str) -> Path:
        """Private key file of `name`."""
        return self.folder / f"{name}.key"

    def kubeconfig(self, name: str) -> Path:
        """Kubeconfig of the component `name`."""
        return self.folder / f"{name}.kubeconfig"


def issue(places: Places, now: dt.datetime) -> Credentials:
    """Make a new authority and every certificate, key and kubeconfig of one life of the cluster."""
    credentials = Credentials(places.state / "credentials")
    authority = Authority.create(now)
    authority.pair.write(credentials.folder, "authority")
    signing_pair().write(credentials.folder, "service-accounts")
    api_names = [
        NODE_ADDRESS,
        KUBERNETES_SERVICE_ADDRESS,
        "kubernetes",
        "kubernetes.default",
        "kubernetes.default.svc",
        f"kubernetes.default.svc.{CLUSTER_DOMAIN}",
    ]
    authority.server("kube-apiserver", api_names).write(credentials.folder, "api-server")
    authority.server(NODE_NAME, [NODE_NAME, NODE_ADDRESS]).write(credentials.folder, "kubelet")
    authority.client(_KUBELET_CLIENT).write(credentials.folder, "kubelet-client")
    users = {
        "kube-controller-manager": authority.client("system:kube-controller-manager"),
        "kube-scheduler": authority.client("system:kube-scheduler"),
        "kube-proxy": authority.client("system:kube-proxy"),
        "kubelet": authority.client(f"system:node:{NODE_NAME}", ["system:nodes"]),
        "coredns": authority.client(_COREDNS_USER),
    }
    for name, pair in users.items():
        write_kubeconfig(credentials.kubeconfig(name), name, pair, authority.pair.certificate)
    _write_admin(places, credentials, authority)
    return credentials


def _write_admin(places: Places, credentials: Credentials, authority: Authority) -> None:
    admin: KeyPair = authority.client("linnet-testbed-admin", ["system:masters"])
    admin.write(credentials.folder, "admin")
    write_kubeconfig(places.admin_kubeconfig, "admin", admin, authority.pair.certificate)


def start_store(processes: Processes, programs: Path, places: Places) -> None:
    """Start etcd on the loopback."""
    etcd: list[str | Path] = [
        programs / "etcd",
        f"--data-dir={places.state / 'etcd'}",
        "--listen-client-urls=http://127.0.0.1:2379",
        "--advertise-client-urls=http://127.0.0.1:2379",
        "--listen-peer-urls=http://127.0.0.1:2380",
        # The data do not outlive the testbed.
        "--unsafe-no-fsync",
    ]
    processes.start(ETCD, etcd)


def start_api_server(processes: Processes, programs: Path, credentials: Credentials) -> None:
    """Start the API server; it waits for etcd by itself."""
    command: list[str | Path] = [
        programs / "kube-apiserver",
        f"--advertise-address={NODE_ADDRESS}",
        f"--secure-port={API_PORT}",
        "--etcd-servers=http://127.0.0.1:2379",
        f"--service-cluster-ip-range={SERVICE_CIDR}",
        f"--client-ca-file={credentials.certificate('authority')}",
        f"--tls-cert-file={credentials.certificate('api-server')}",
        f"--tls-private-key-file={credentials.key('api-server')}",
        f"--kubelet-certificate-authority={credentials.certificate('authority')}",
        f"--kubelet-client-certificate={credentials.certificate('kubelet-client')}",
        f"--kubelet-client-key={credentials.key('kubelet-client')}",
        # The node's name resolves nowhere, so logs and exec go to its address.
        "--kubelet-preferred-address-types=InternalIP",
        f"--service-account-issuer=https://kubernetes.default.svc.{CLUSTER_DOMAIN}",
        f"--service-account-key-file={credentials.certificate('service-accounts')}",
        f"--service-account-signing-key-file={credentials.key('service-accounts')}",
        "--authorization-mode=Node,RBAC",
        "--enable-admission-plugins=NodeRestriction,PodSecurity",
        "--allow-privileged=true",
        "--profiling=false",
    ]
    processes.start(API_SERVER, command)


def start_controllers(
    processes: Processes, programs: Path, places: Places, credentials: Credentials
) -> None:
    """Start the controller manager and the scheduler."""
    controller_manager: list[str | Path] = [
        programs / "kube-controller-manager",
        f"--kubeconfig={credentials.kubeconfig('kube-controller-manager')}",
        f"--authentication-kubeconfig={credentials.kubeconfig('kube-controller-manager')}",
        f"--authorization-kubeconfig={credentials.kubeconfig('kube-controller-manager')}",
        "--bind-address=127.0.0.1",
        "--leader-elect=false",
        "--use-service-account-credentials",
        f"--service-account-private-key-file={credentials.key('service-accounts')}",
        f"--root-ca-file={credentials.certificate('authority')}",
        "--allocate-node-cidrs",
        f"--cluster-cidr={POD_CIDR}",
        f"--service-cluster-ip-range={SERVICE_CIDR}",
        f"--kube-api-qps={_CLIENT_QPS}",
        f"--kube-api-burst={_CLIENT_BURST}",
        f"--concurrent-job-syncs={_CONCURRENT_JOB_SYNCS}",
        f"--flex-volume-plugin-dir={places.state / 'volume-plugins'}",
        "--pvclaimbinder-sync-period=1s",
        "--profiling=false",
    ]
    processes.start(CONTROLLER_MANAGER, controller_manager)
    configuration = credentials.folder / "scheduler.json"
    configuration.write_text(json.dumps(_scheduler_configuration(credentials), indent=2))
    kubeconfig = credentials.kubeconfig("kube-scheduler")
    scheduler: list[str | Path] = [
        programs / "kube-scheduler",
        f"--config={configuration}",
        f"--authentication-kubeconfig={kubeconfig}",
        f"--authorization-kubeconfig={kubeconfig}",
        "--bind-address=127.0.0.1",
    ]
    processes.start(SCHEDULER, scheduler)


def _scheduler_configuration(credentials: Credentials) -> dict[str, object]:
    return {
        "apiVersion": "kubescheduler.config.k8s.io/v1",
        "kind": "KubeSchedulerConfiguration",
        "clientConnection": {
            "kubeconfig": str(credentials.kubeconfig("kube-scheduler")),
            "qps": _CLIENT_QPS,
            "burst": _CLIENT_BURST,
        },
        "leaderElection": {"leaderElect": False},
    }


def grants() -> list[dict[str, object]]:
    """Roles that the components need and that the API server does not make by itself."""
    return [
        _role_binding("linnet-testbed-kubelet-client", "system:kubelet-api-admin", _KUBELET_CLIENT),
        {
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "ClusterRole",
            "metadata": {"name": "linnet-testbed-coredns"},
            "rules": [
                {
                    "apiGroups": [""],
                    "resources": ["services", "pods", "namespaces"],
                    "verbs": ["list", "watch"],
                },
                {
                    "apiGroups": ["discovery.k8s.io"],
                    "resources": ["endpointslices"],
                    "verbs": ["list", "watch"],
                },
            ],
        },
        _role_binding("linnet-testbed-coredns", "linnet-testbed-coredns", _COREDNS_USER),
    ]


def _role_binding(name: str, role: str, user: str) -> dict[str, object]:
    return {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRoleBinding",
        "metadata": {"name": name},
        "roleRef": {
            "apiGroup": "rbac.authorization.k8s.io",
            "kind": "ClusterRole",
            "name": role,
        },
        "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": user}],
    }
