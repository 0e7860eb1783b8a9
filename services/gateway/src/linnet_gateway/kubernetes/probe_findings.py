"""What the findings of the probe's script mean. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from linnet_gateway.kubernetes.checkup import Finding, Installation, Verdict
from linnet_gateway.kubernetes.probe_targets import GATEWAY, NEIGHBOURS, SHUT
from linnet_gateway.kubernetes.settings import KubernetesSettings

Object = Mapping[str, Any]

_ENGINE = "a network plug-in that enforces NetworkPolicies"
_POLICIES = "NetworkPolicies that leave it out; another one, or networkPolicy.store.peers, opens it"
_LANDLOCK = "Landlock in the node's kernel: Linux 5.13 or later, enabled at boot"
_PIDS = "podPidsLimit of the kubelet"
_USERS = "user namespaces: Linux 6.3, Kubernetes 1.33 and a container runtime that has them"
_SECCOMP_FILTER = "2"


@dataclass(frozen=True, slots=True)
class Node:
    """The node that the probe ran on.

    Attributes:
        name: Its name.
        kernel: Version of its kernel.
        pids_limit: Processes that its kubelet allows a pod; 0 if it sets no limit, None if it can't
            be read.
    """

    name: str
    kernel: str
    pids_limit: int | None


def judge(said: Object, node: Node, installation: Installation) -> list[Finding]:
    """Say what the script's findings mean."""
    settings = installation.settings
    findings = _network(said, settings)
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
        _processes(said["pids_limit"], node, settings),
        _users(settings, host_users=said["host_users"]),
    ]
    if settings.expert_runtime_class:
        apart = said["kernel"] != node.kernel
        findings.append(
            Finding(
                "scripts have a kernel of their own",
                Verdict.OK if apart else Verdict.WARNING,
                f"pod {said['kernel']}, node {node.kernel}",
                f"RuntimeClass {settings.expert_runtime_class}",
            )
        )
    return findings


def _network(said: Object, settings: KubernetesSettings) -> list[Finding]:
    reach: Mapping[str, bool] = said["reach"]
    findings = [
        Finding(
            "trainers reach the gateway",
            Verdict.OK if reach[GATEWAY] else Verdict.FAILED,
            settings.gateway_address,
        )
    ]
    # These listen: that one can't be reached is an engine's doing, and what can be is a policy's.
    enforced = any(name in reach and not reach[name] for name in NEIGHBOURS)
    for name in SHUT:
        check = f"trainers can't reach the {name}"
        if name not in reach:
            detail = "nothing was tried: no pod of it is ready"
            findings.append(Finding(check, Verdict.WARNING, detail, _ENGINE))
            continue
        reached = reach[name] or said["answered"].get(name, False)
        rests_on = _POLICIES if reached and enforced else _ENGINE
        findings.append(_denied(check, denied=not reached, rests_on=rests_on))
    if settings.expert_host_aliases:
        findings.append(
            _denied("scripts have no name service", denied=not said["resolves"], rests_on=_ENGINE)
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


def _processes(seen: int, node: Node, settings: KubernetesSettings) -> Finding:
    """Judge what bounds the processes of a pod, which fails where scripts of users may run."""
    check = "a pod's processes are bounded"
    limits = [limit for limit in (seen, node.pids_limit) if limit]
    if limits:
        return Finding(check, Verdict.OK, f"{min(limits)} on node {node.name}", _PIDS)
    if node.pids_limit is None:
        detail = f"the kubelet of {node.name} was not asked: it needs the right to get nodes/proxy"
        return Finding(check, Verdict.WARNING, detail, _PIDS)
    scripts = settings.expert_runtime_class or settings.expert_without_sandbox
    verdict = Verdict.FAILED if scripts else Verdict.WARNING
    return Finding(check, verdict, f"set podPidsLimit in the kubelet of {node.name}", _PIDS)


def _users(settings: KubernetesSettings, *, host_users: bool) -> Finding:
    """Judge whether a pod's users are users of the node, which fails where they must not be."""
    check = "trainers have a user namespace of their own"
    if not host_users:
        return Finding(check, Verdict.OK, "", _USERS)
    if settings.host_users is not False:
        detail = "not asked for: set runs.hostUsers=false where nodes can"
        return Finding(check, Verdict.WARNING, detail, _USERS)
    # A sandbox has a kernel, and so users, of its own.
    sandboxed = bool(settings.expert_runtime_class)
    verdict = Verdict.WARNING if sandboxed else Verdict.FAILED
    return Finding(check, verdict, "it was asked for, and the node gave none", _USERS)


def _denied(check: str, *, denied: bool, rests_on: str = "") -> Finding:
    detail = "" if denied else "this protection does not hold on this cluster"
    return Finding(check, Verdict.OK if denied else Verdict.FAILED, detail, rests_on)
