"""Settings of the Kubernetes adapter, from LINNET_KUBERNETES_*."""

from pathlib import Path
from typing import Literal

from linnet_runtime.settings import ServiceSettings
from pydantic import BaseModel, ConfigDict, Field

GIB = 1024**3
MIB = 1024**2


class Ceiling(BaseModel):
    """The most that one launch of a project may ask for."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    cpu_millis: int = Field(default=8_000, ge=1)
    """CPU of one shard, in thousandths of a core."""
    memory_bytes: int = Field(default=16 * GIB, ge=1)
    """Memory of one shard."""
    parallelism: int = Field(default=1_000, ge=1)
    """Shards at once; more are not refused, they wait."""
    deadline_s: int = Field(default=24 * 3600, ge=1)
    """Wall time of a launch; one that names no deadline gets this."""


class Toleration(BaseModel):
    """A toleration of trainer pods, in the words of the Kubernetes API."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    key: str = ""
    operator: Literal["Exists", "Equal"] = "Equal"
    value: str = ""
    effect: Literal["", "NoSchedule", "PreferNoSchedule", "NoExecute"] = ""


class KubernetesSettings(ServiceSettings):
    """How and where trainers run; mappings and lists are given as JSON."""

    model_config = ServiceSettings.env("LINNET_KUBERNETES_")

    kubeconfig: Path | None = None
    """Credentials file; without one those of the pod's service account."""
    namespace: str = Field("linnet-runs", min_length=1, max_length=63)
    """Where Jobs and their Secrets are made; nothing else is touched."""
    instance: str = Field("linnet", pattern=r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$")
    """Tells installations apart that share the namespace: each sees its own Jobs only."""

    trainer_image: str = Field(min_length=1)
    """Image of the trainer, best by digest."""
    trainer_command: tuple[str, ...] = ("linnet-trainer", "run")
    """What a trainer's container runs."""
    image_pull_policy: Literal["IfNotPresent", "Always", "Never"] = "IfNotPresent"
    image_pull_secrets: tuple[str, ...] = ()
    """Names of Secrets in the namespace."""
    service_account: str = Field("linnet-trainer", min_length=1)
    """Account of trainer pods; its token is not mounted and it needs no rights."""
    gateway_address: str = Field(min_length=1)
    """`host:port` of RunnerService, as trainers reach it."""
    gateway_ca_secret: str = ""
    """Secret in the namespace whose `ca.crt` trainers trust for RunnerService; empty: no TLS."""

    ceiling: Ceiling = Ceiling()
    """For projects that `project_ceilings` does not name."""
    project_ceilings: dict[str, Ceiling] = Field(default_factory=dict)
    """By project id."""
    scratch_bytes: int = Field(2 * GIB, ge=64 * MIB)
    """Size of a trainer's /tmp; the only place that it can write."""
    run_as_user: int = Field(10001, ge=1)
    """User and group of trainers, never root; the image's own."""
    host_users: bool | None = None
    """False gives each pod a user namespace, where nodes can; None leaves it to the cluster."""
    grace_s: int = Field(60, ge=1)
    """Between SIGTERM and SIGKILL: time to save a checkpoint."""
    backoff_limit_per_index: int = Field(3, ge=0)
    """How often a shard is tried again."""
    released_ttl_s: int = Field(600, ge=0)
    """How long an ended Job stays after its runs' records are final, for people to look at."""
    unclaimed_ttl_s: int = Field(7 * 24 * 3600, ge=3600)
    """How long an ended Job stays if no gateway ever takes note of it."""
    terminated_pods_max: int = Field(5_000, ge=0)
    """With more ended pods than this, ended Jobs are removed at once."""

    queue_name: str = ""
    """Kueue LocalQueue; when set, Kueue decides when a launch starts."""
    priority_class: str = ""
    runtime_class: str = ""
    """RuntimeClass of trainers that run no user scripts."""
    node_selector: dict[str, str] = Field(default_factory=dict)
    tolerations: tuple[Toleration, ...] = ()

    expert_runtime_class: str = ""
    """RuntimeClass that keeps user scripts apart from the node, such as gvisor or kata."""
    expert_without_sandbox: bool = False
    """Lets user scripts run without such a class: they then share the node's kernel."""
    expert_node_selector: dict[str, str] = Field(default_factory=dict)
    """Added to `node_selector` for launches that run user scripts."""
    expert_tolerations: tuple[Toleration, ...] = ()
    """Added to `tolerations` for launches that run user scripts."""
    expert_host_aliases: dict[str, str] = Field(default_factory=dict)
    """Host name to address. When given, pods that run user scripts have no DNS, only these."""

    image_pull_limit_s: float = Field(180.0, ge=0)
    """How long an image may fail to be pulled on the pod's node before the launch fails."""
    unschedulable_limit_s: float = Field(900.0, ge=0)
    """How long pods may find no node, so that an autoscaler has time to add one."""
    quota_limit_s: float = Field(900.0, ge=0)
    """How long a quota may refuse a launch's Job, or every pod of it."""
    start_limit_s: float = Field(600.0, ge=0)
    """How long a container may fail to be created on a node, for whatever other reason."""

    inflight_max: int = Field(128, ge=1)
    """API calls at once, at most; it starts at 32 or this, whichever is less."""
    call_timeout_s: float = Field(30.0, gt=0)
    """How long one API call may take."""
    retry_limit_s: float = Field(60.0, ge=0)
    """How long a call is tried again before it counts as unavailable."""
    watch_s: float = Field(360.0, gt=0)
    """Length of a watch, give or take a third."""
    watch_silence_s: float = Field(90.0, gt=0)
    """A watch that says nothing, not even a bookmark, for so long is opened again."""
    relist_s: float = Field(600.0, gt=0)
    """How often everything is listed, whatever the watch said."""

    lease_name: str = Field("linnet-gateway", min_length=1)
    """Lease by which gateway replicas agree on who reconciles."""
    lease_namespace: str = ""
    """Where that Lease is; empty: `namespace`."""

    def ceiling_of(self, project: str) -> Ceiling:
        """Give what a launch of that project may ask for."""
        return self.project_ceilings.get(project, self.ceiling)
