"""What a launch looks like in Kubernetes: one Indexed Job and one Secret. Pure.

The Job is made suspended, then the Secret that it owns, then the Job is resumed; so no pod ever
waits for its token, and nothing outlives the Job.
"""

from typing import Any, TypeAlias

from linnet_runtime.errors import InvalidInput, NotAllowedInState, QuotaExceeded
from linnet_runtime.ids import ID_PATTERN, label_safe

from linnet_gateway.kubernetes import marks
from linnet_gateway.kubernetes.settings import MIB, KubernetesSettings, Toleration
from linnet_gateway.launches.launcher import TRAINER_NAME, Launch
from linnet_gateway.launches.trainer_exits import final_codes
from linnet_gateway.specs.ceilings import EXPERT_SANDBOX_MISSING

Manifest: TypeAlias = dict[str, Any]

TOKEN_FOLDER = "/run/linnet"  # noqa: S105 - a folder, no secret
TOKEN_KEY = "token"  # noqa: S105 - a file name, no secret
CA_FOLDER = "/run/linnet-ca"
SCRATCH = "/tmp"  # noqa: S108 - an emptyDir of the pod's own

_LOG_BYTES = 256 * MIB
"""Room for a container's log files, beside /tmp, in its ephemeral storage."""
_READ_ONLY_FILE = 0o444


def build_job(launch: Launch, settings: KubernetesSettings) -> Manifest:
    """Make the Job of a launch, suspended.

    Raises:
        InvalidInput: The launch's uid can't name anything in Kubernetes.
        QuotaExceeded: It asks for more than its project may have.
        NotAllowedInState: It runs user scripts, and no RuntimeClass keeps them apart.
    """
    _check(launch, settings)
    deadline_s = settings.ceiling_of(launch.project).deadline_s
    if launch.deadline is not None:
        deadline_s = max(1, round(launch.deadline.total_seconds()))
    labels = job_labels(launch, settings)
    queue = {marks.QUEUE: settings.queue_name} if settings.queue_name else {}
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {
            "name": marks.job_name(launch.uid),
            "namespace": settings.namespace,
            "labels": labels | queue,
            "annotations": {marks.SPEC_DIGEST: launch.spec_digest},
        },
        "spec": {
            "suspend": True,
            "completionMode": "Indexed",
            "completions": launch.shard_count,
            "parallelism": parallelism(launch, settings),
            "backoffLimitPerIndex": settings.backoff_limit_per_index,
            "podFailurePolicy": {"rules": _failure_rules()},
            "podReplacementPolicy": "Failed",
            "activeDeadlineSeconds": deadline_s,
            "ttlSecondsAfterFinished": settings.unclaimed_ttl_s,
            "template": {
                "metadata": {
                    "labels": labels,
                    "annotations": {marks.SPEC_DIGEST: launch.spec_digest},
                },
                "spec": _pod(launch, settings),
            },
        },
    }


def build_secret(launch: Launch, job_uid: str, settings: KubernetesSettings) -> Manifest:
    """Make the Secret with the launch token, owned by the Job of that uid."""
    name = marks.job_name(launch.uid)
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {
            "name": name,
            "namespace": settings.namespace,
            "labels": job_labels(launch, settings),
            "ownerReferences": [
                {"apiVersion": "batch/v1", "kind": "Job", "name": name, "uid": job_uid}
            ],
        },
        "type": f"{marks.DOMAIN}/launch-token",
        "immutable": True,
        "stringData": {TOKEN_KEY: launch.token},
    }


def job_labels(launch: Launch, settings: KubernetesSettings) -> dict[str, str]:
    """Give the labels of everything that a launch consists of."""
    own = {f"{marks.DOMAIN}/{key}": label_safe(value) for key, value in launch.labels.items()}
    return own | {
        marks.NAME: "linnet-trainer",
        marks.INSTANCE: settings.instance,
        marks.PART_OF: "linnet",
        marks.COMPONENT: marks.TRAINER,
        marks.MANAGED_BY: marks.MANAGER,
        marks.LAUNCH: launch.uid,
        marks.PROJECT: label_safe(launch.project),
        marks.CLASS: "expert" if launch.expert else "standard",
    }


def parallelism(launch: Launch, settings: KubernetesSettings) -> int:
    """Give how many pods of the launch may live at once."""
    ceiling = settings.ceiling_of(launch.project).parallelism
    return min(launch.parallelism, ceiling, launch.shard_count)


def _check(launch: Launch, settings: KubernetesSettings) -> None:
    if not ID_PATTERN.fullmatch(launch.uid):
        raise InvalidInput.of(
            "launch.uid", f"expected a-z, 0-9 and -, at most 40 long, received {launch.uid!r}"
        )
    ceiling = settings.ceiling_of(launch.project)
    asked = {
        "memory_bytes": (launch.memory_bytes, ceiling.memory_bytes),
        "cpu_millis": (launch.cpu_millis, ceiling.cpu_millis),
    }
    for field, (value, limit) in asked.items():
        if value > limit:
            raise QuotaExceeded(
                f"launch.{field}: project {launch.project!r} may use {limit}, received {value}; "
                "ask for less, use a smaller dataset, or have the project's ceiling raised",
                reason="CEILING_EXCEEDED",
                metadata={"field": field, "limit": str(limit), "received": str(value)},
            )
    if launch.deadline is not None and launch.deadline.total_seconds() > ceiling.deadline_s:
        raise QuotaExceeded(
            f"launch.deadline: project {launch.project!r} may use {ceiling.deadline_s} s, "
            f"received {launch.deadline.total_seconds():.0f} s",
            reason="CEILING_EXCEEDED",
            metadata={"field": "deadline", "limit": str(ceiling.deadline_s)},
        )
    if launch.expert and (why := without_sandbox(settings)):
        raise NotAllowedInState(why, reason=EXPERT_SANDBOX_MISSING)


def without_sandbox(settings: KubernetesSettings) -> str:
    """Say what lacks for scripts and who can mend it; empty where they are launched."""
    if settings.expert_runtime_class or settings.expert_without_sandbox:
        return ""
    return (
        "scripts run only in a sandbox, and this installation names none: an administrator "
        "sets expert_runtime_class to a RuntimeClass such as gvisor, or allows scripts "
        "without one by expert_without_sandbox"
    )


def _failure_rules() -> list[Manifest]:
    return [
        # Evictions, preemptions and lost nodes are nobody's failure: the order of rules counts.
        {
            "action": "Ignore",
            "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}],
        },
        {
            "action": "FailIndex",
            "onExitCodes": {
                "containerName": marks.TRAINER,
                "operator": "In",
                "values": list(final_codes()),
            },
        },
    ]


def _pod(launch: Launch, settings: KubernetesSettings) -> Manifest:
    user = settings.run_as_user
    pod: Manifest = {
        "restartPolicy": "Never",
        "serviceAccountName": settings.service_account,
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "terminationGracePeriodSeconds": settings.grace_s,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": user,
            "runAsGroup": user,
            "fsGroup": user,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": [_container(launch, settings)],
        "volumes": _volumes(launch, settings),
    }
    if settings.host_users is not None:
        pod["hostUsers"] = settings.host_users
    if settings.image_pull_secrets:
        pod["imagePullSecrets"] = [{"name": name} for name in settings.image_pull_secrets]
    if settings.priority_class:
        pod["priorityClassName"] = settings.priority_class
    return pod | _placement(launch, settings)


def _placement(launch: Launch, settings: KubernetesSettings) -> Manifest:
    runtime_class = settings.runtime_class
    node_selector = settings.node_selector
    tolerations = settings.tolerations
    placed: Manifest = {}
    if launch.expert:
        runtime_class = settings.expert_runtime_class
        node_selector = node_selector | settings.expert_node_selector
        tolerations = (*tolerations, *settings.expert_tolerations)
        if settings.expert_host_aliases:
            # Without a name server that answers, a script can't carry data out in questions.
            placed["dnsPolicy"] = "None"
            placed["dnsConfig"] = {"nameservers": ["127.0.0.1"]}
            placed["hostAliases"] = [
                {"ip": address, "hostnames": [name]}
                for name, address in sorted(settings.expert_host_aliases.items())
            ]
    if runtime_class:
        placed["runtimeClassName"] = runtime_class
    if node_selector:
        placed["nodeSelector"] = node_selector
    if tolerations:
        placed["tolerations"] = [_toleration(one) for one in tolerations]
    return placed


def _toleration(toleration: Toleration) -> Manifest:
    return {key: value for key, value in toleration.model_dump().items() if value}


def _container(launch: Launch, settings: KubernetesSettings) -> Manifest:
    storage = str(settings.scratch_bytes + _LOG_BYTES)
    memory = str(launch.memory_bytes)
    mounts: list[Manifest] = [
        {"name": "scratch", "mountPath": SCRATCH},
        {"name": "launch", "mountPath": TOKEN_FOLDER, "readOnly": True},
    ]
    environment = {
        "HOME": SCRATCH,
        "KERAS_HOME": f"{SCRATCH}/keras",
        "XDG_CACHE_HOME": f"{SCRATCH}/cache",
        "LINNET_TRAINER_GATEWAY": settings.gateway_address,
        "LINNET_TRAINER_TOKEN_FILE": f"{TOKEN_FOLDER}/{TOKEN_KEY}",
    }
    if settings.gateway_ca_secret:
        mounts.append({"name": "ca", "mountPath": CA_FOLDER, "readOnly": True})
        environment["LINNET_TRAINER_GATEWAY_CA_FILE"] = f"{CA_FOLDER}/ca.crt"
    return {
        "name": marks.TRAINER,
        "image": settings.trainer_image,
        "imagePullPolicy": settings.image_pull_policy,
        "command": list(settings.trainer_command),
        "env": [
            *({"name": name, "value": value} for name, value in environment.items()),
            # By which the end of this pod is told from that of another one of its shard.
            {"name": TRAINER_NAME, "valueFrom": {"fieldRef": {"fieldPath": "metadata.uid"}}},
        ],
        "resources": {
            "requests": {
                "cpu": f"{launch.cpu_millis}m",
                "memory": memory,
                "ephemeral-storage": storage,
            },
            "limits": {"memory": memory, "ephemeral-storage": storage},
        },
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "privileged": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "volumeMounts": mounts,
    }


def _volumes(launch: Launch, settings: KubernetesSettings) -> list[Manifest]:
    volumes: list[Manifest] = [
        {"name": "scratch", "emptyDir": {"sizeLimit": str(settings.scratch_bytes)}},
        {
            "name": "launch",
            "secret": {
                "secretName": marks.job_name(launch.uid),
                "defaultMode": _READ_ONLY_FILE,
            },
        },
    ]
    if settings.gateway_ca_secret:
        volumes.append(
            {
                "name": "ca",
                "secret": {
                    "secretName": settings.gateway_ca_secret,
                    "items": [{"key": "ca.crt", "path": "ca.crt"}],
                    "defaultMode": _READ_ONLY_FILE,
                },
            }
        )
    return volumes
