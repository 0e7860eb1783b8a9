"""What `linnet doctor --cluster` asks a cluster about an installation and its protections."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any

from linnet_gateway.kubernetes import marks
from linnet_gateway.kubernetes.answers import ApiError
from linnet_gateway.kubernetes.client import Api
from linnet_gateway.kubernetes.rights import (
    FORBIDDEN,
    FORBIDDEN_TO_TRAINERS,
    Right,
    needed,
)
from linnet_gateway.kubernetes.settings import KubernetesSettings

Object = Mapping[str, Any]

_PREFIX = "LINNET_KUBERNETES_"
_OLDEST_MINOR = 33
"""backoffLimitPerIndex is stable from Kubernetes 1.33 on."""
_NOT_FOUND = 404
_ENFORCE = "pod-security.kubernetes.io/enforce"
_GATEWAYS = f"{marks.NAME}=linnet,{marks.COMPONENT}=gateway"


class Verdict(Enum):
    """How a check ended."""

    OK = "ok"
    WARNING = "warning"
    FAILED = "FAILED"


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the doctor's report.

    Attributes:
        check: What was looked at.
        verdict: How it is.
        detail: What was found and, if it is not well, what to do.
        rests_on: What the protection needs from the cluster; empty if nothing special.
    """

    check: str
    verdict: Verdict
    detail: str
    rests_on: str = ""


@dataclass(frozen=True, slots=True)
class Installation:
    """A gateway as it is deployed.

    Attributes:
        namespace: The release's namespace.
        account: The gateway's service account.
        settings: How it launches trainers.
        ready: Ready replicas.
        wanted: Replicas that there should be.
    """

    namespace: str
    account: str
    settings: KubernetesSettings
    ready: int
    wanted: int


def read_installation(deployment: Object) -> Installation | None:
    """Read a gateway's Deployment; None if it does not launch on Kubernetes."""
    spec = deployment["spec"]["template"]["spec"]
    environment = {
        one["name"]: one["value"]
        for container in spec["containers"]
        for one in container.get("env", ())
        if one["name"].startswith(_PREFIX) and "value" in one
    }
    if not environment:
        return None
    values = {
        name.removeprefix(_PREFIX).lower(): _decoded(value) for name, value in environment.items()
    }
    return Installation(
        namespace=deployment["metadata"]["namespace"],
        account=spec.get("serviceAccountName", "default"),
        settings=KubernetesSettings.model_validate(values),
        ready=int(deployment.get("status", {}).get("readyReplicas") or 0),
        wanted=int(deployment["spec"].get("replicas") or 0),
    )


async def find_installations(api: Api, namespace: str) -> list[Installation]:
    """Find gateways, everywhere or in one namespace."""
    scope = f"/namespaces/{namespace}" if namespace else ""
    listing = await api.list(f"/apis/apps/v1{scope}/deployments", labelSelector=_GATEWAYS)
    return [found for one in listing.items if (found := read_installation(one)) is not None]


async def check_version(api: Api) -> Finding:
    """Make sure that the cluster has what launches need."""
    version = await api.get("/version")
    minor = int("".join(c for c in version["minor"] if c.isdigit()) or 0)
    named = version["gitVersion"]
    if int(version["major"]) == 1 and minor < _OLDEST_MINOR:
        return Finding(
            "Kubernetes version",
            Verdict.FAILED,
            f"{named}: launches need 1.{_OLDEST_MINOR} or newer, for retries per shard",
        )
    return Finding("Kubernetes version", Verdict.OK, named)


def check_replicas(installation: Installation) -> Finding:
    """Make sure that the gateway runs."""
    counted = f"{installation.ready} of {installation.wanted} replicas are ready"
    well = 0 < installation.wanted <= installation.ready
    return Finding("gateway", Verdict.OK if well else Verdict.FAILED, counted)


async def check_namespace(api: Api, installation: Installation) -> Finding:
    """Make sure that the runs namespace admits restricted pods only."""
    name = installation.settings.namespace
    rests_on = "PodSecurity admission"
    try:
        namespace = await api.get(f"/api/v1/namespaces/{name}")
    except ApiError as error:
        return Finding("runs namespace", Verdict.FAILED, f"{name}: {error.said}")
    level = namespace["metadata"].get("labels", {}).get(_ENFORCE, "nothing")
    if level != "restricted":
        return Finding(
            "runs namespace",
            Verdict.FAILED,
            f"{name} enforces {level}; set its label {_ENFORCE}=restricted",
            rests_on,
        )
    return Finding("runs namespace", Verdict.OK, f"{name} enforces restricted", rests_on)


async def check_admission(api: Api, installation: Installation) -> Finding:
    """Try, without making it, a pod that no trainer may ever be."""
    namespace = installation.settings.namespace
    privileged = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"generateName": "linnet-doctor-", "namespace": namespace},
        "spec": {
            "hostNetwork": True,
            "containers": [{"name": "c", "image": "none", "securityContext": {"privileged": True}}],
        },
    }
    path = f"/api/v1/namespaces/{namespace}/pods"
    rests_on = "PodSecurity admission"
    try:
        await api.call("POST", path, query={"dryRun": "All"}, body=privileged)
    except ApiError as error:
        refused = "PodSecurity" in error.said
        verdict = Verdict.OK if refused else Verdict.WARNING
        return Finding("privileged pods", verdict, f"refused: {error.said[:120]}", rests_on)
    return Finding(
        "privileged pods",
        Verdict.FAILED,
        f"the API server admits a privileged pod to {namespace}",
        rests_on,
    )


async def check_rights(api: Api, installation: Installation) -> list[Finding]:
    """Ask the API server what gateway and trainers may do."""
    settings = installation.settings
    gateway = f"system:serviceaccount:{installation.namespace}:{installation.account}"
    trainer = f"system:serviceaccount:{settings.namespace}:{settings.service_account}"
    asked = needed(settings.lease_name)
    missing = [r for r in asked if not await _may(api, gateway, r, settings.namespace)]
    excess = [r for r in FORBIDDEN if await _may(api, gateway, r, settings.namespace)]
    trainers = [r for r in FORBIDDEN_TO_TRAINERS if await _may(api, trainer, r, settings.namespace)]
    return [
        _rights("rights that the gateway needs", missing, "it lacks: {}", "it has each"),
        _rights("rights that the gateway must not have", excess, "it may: {}", "it has none"),
        _rights("rights of trainers", trainers, "trainers may: {}", "they have none"),
    ]


async def check_sandbox(api: Api, installation: Installation) -> Finding:
    """Make sure that user scripts run in a sandbox, or not at all."""
    settings = installation.settings
    name = settings.expert_runtime_class
    rests_on = "a RuntimeClass"
    if not name and settings.expert_without_sandbox:
        return Finding(
            "sandbox of user scripts",
            Verdict.WARNING,
            "an administrator allowed scripts without one: they share the node's kernel",
            rests_on,
        )
    if not name:
        return Finding(
            "sandbox of user scripts", Verdict.OK, "none is named, so scripts are refused", rests_on
        )
    try:
        found = await api.get(f"/apis/node.k8s.io/v1/runtimeclasses/{name}")
    except ApiError as error:
        if error.status != _NOT_FOUND:
            raise
        return Finding(
            "sandbox of user scripts",
            Verdict.FAILED,
            f"RuntimeClass {name} does not exist: no script can run",
            rests_on,
        )
    return Finding(
        "sandbox of user scripts", Verdict.OK, f"{name}, handler {found['handler']}", rests_on
    )


async def check_policies(api: Api, installation: Installation) -> Finding:
    """Make sure that the runs namespace denies what is not allowed."""
    namespace = installation.settings.namespace
    listing = await api.list(f"/apis/networking.k8s.io/v1/namespaces/{namespace}/networkpolicies")
    denying = [one for one in listing.items if _denies_all(one["spec"])]
    rests_on = "a network plug-in that enforces NetworkPolicies"
    if not denying:
        return Finding(
            "network policies",
            Verdict.FAILED,
            f"{namespace} has none that denies by default; set networkPolicy.enabled",
            rests_on,
        )
    count = len(listing.items)
    return Finding("network policies", Verdict.OK, f"{count}, one denies by default", rests_on)


def _denies_all(spec: Object) -> bool:
    both = set(spec.get("policyTypes", ())) == {"Ingress", "Egress"}
    return (
        both and not spec.get("podSelector") and not spec.get("egress") and not spec.get("ingress")
    )


def _rights(check: str, found: Iterable[Right], wrong: str, right: str) -> Finding:
    named = ", ".join(str(one) for one in found)
    if named:
        return Finding(check, Verdict.FAILED, wrong.format(named), "RBAC")
    return Finding(check, Verdict.OK, right, "RBAC")


async def _may(api: Api, user: str, right: Right, namespace: str) -> bool:
    attributes = {
        "namespace": namespace,
        "verb": right.verb,
        "group": right.group,
        "resource": right.resource,
        "subresource": right.subresource,
        "name": right.name,
    }
    _, account_namespace, _ = user.removeprefix("system:").split(":")
    review = {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SubjectAccessReview",
        "spec": {
            "user": user,
            "groups": [
                "system:serviceaccounts",
                f"system:serviceaccounts:{account_namespace}",
                "system:authenticated",
            ],
            "resourceAttributes": attributes,
        },
    }
    answer = await api.create("/apis/authorization.k8s.io/v1/subjectaccessreviews", review)
    return bool(answer["status"]["allowed"])


def _decoded(value: str) -> Any:
    return json.loads(value) if value[:1] in {"{", "["} else value
