"""Settings of the gateway, from LINNET_GATEWAY_* variables."""

import ipaddress
import re
import sys
from datetime import timedelta
from pathlib import Path
from typing import Literal, Self

from linnet_runtime.rpc.tls_settings import TlsSettings
from linnet_runtime.s3 import S3Location
from pydantic import Field, SecretStr, model_validator

from linnet_gateway.project_settings import ProjectSettings

_ORIGIN = re.compile(r"https?://[a-z0-9.\-\[\]:]+")

GIB = 1024**3
MIB = 1024**2


class GatewaySettings(TlsSettings):
    """What a deployment decides."""

    model_config = TlsSettings.env("LINNET_GATEWAY_")

    host: str = "127.0.0.1"
    """Address of TrainingService, the web and /metrics; `0.0.0.0` in a pod."""
    port: int = Field(default=0, ge=0, le=65_535)
    """Port of TrainingService over gRPC; 0 picks a free one."""
    runner_host: str = ""
    """Address of RunnerService; as `host` when empty."""
    runner_port: int = Field(default=0, ge=0, le=65_535)
    """Port of RunnerService; 0 picks a free one. Never a public one."""
    http_port: int = Field(default=0, ge=0, le=65_535)
    """Port of TrainingService over Connect, for browsers and curl; 0 picks a free one."""
    metrics_port: int = Field(default=0, ge=0, le=65_535)
    """Port of /metrics; 0 picks a free one."""
    endpoint_file: Path | None = None
    """Where {"address", "runner", "http", "metrics"} is written as JSON once it serves."""
    database_url: str = Field(min_length=1)
    """SQLAlchemy's URL of the records: `sqlite:////path` or `postgresql+psycopg://...`.

    Replicas wake each other by LISTEN, which needs a session: name the server itself, or a pooler
    in session mode. Behind another pooler streams are up to 5 s late."""
    migrates: bool = True
    """Whether it applies the migrations that the records lack; if not it waits a minute for
    `linnet-gateway migrate` to have done so, and ends if nobody did."""
    store_endpoint: str = Field(min_length=1)
    """`http://host:port` of the object store."""
    store_public_endpoint: str = ""
    """The same as clients reach it; trainers use `store_endpoint`."""
    store_access_key: str = Field(min_length=1)
    """Access key of the object store."""
    store_secret_key: SecretStr
    """Secret key of the object store."""
    store_bucket: str = "linnet"
    """Bucket that holds everything; made when it does not exist."""
    evaluator_address: str = Field(min_length=1)
    """`host:port` of the evaluator."""
    profiler_address: str = Field(min_length=1)
    """`host:port` of the profiler."""
    service_token: SecretStr | None = Field(default=None, min_length=1)
    """What evaluator and profiler ask for, where their SERVICE_TOKEN is set."""
    service_ca_file: Path | None = None
    """Authorities that sign the certificates of evaluator and profiler, PEM, read at the start;
    without it they are called in plain text. The certificates name the hosts of both addresses."""
    api_token: SecretStr | None = None
    """Static token that every caller must present; without one only loopback is served."""
    tokens_file: Path | None = None
    """JSON list of {"subject", "sha256", "roles": {project: role}}: further static tokens."""
    oidc_issuer: str = ""
    """Issuer of JWTs that are accepted; empty accepts none."""
    oidc_audience: str = ""
    """Audience that JWTs must name."""
    oidc_jwks_url: str = ""
    """Where the issuer's keys are."""
    oidc_algorithms: tuple[str, ...] = ("RS256", "ES256", "EdDSA")
    """Algorithms of signatures that are accepted."""
    oidc_roles_claim: str = "linnet_roles"
    """Claim with roles by project."""
    tls_client_ca_file: Path | None = None
    """Authorities whose certificates callers of TrainingService must present."""
    web_origins: tuple[str, ...] = ()
    """Origins whose pages may call the HTTP port from a browser, such as `https://app.example.org`,
    as a JSON list; `*` for all; empty for none but the port's own."""
    rate_per_s: float = Field(default=500.0, gt=0)
    """Calls of one caller a second."""
    rate_burst: float = Field(default=2000.0, gt=0)
    """Calls of one caller at once after a pause."""
    max_streams: int = Field(default=2000, ge=1)
    """Open streams of one caller."""
    stream_idle_s: float = Field(default=300.0, gt=0)
    """Time within which a caller who fills a batch must send something, in seconds."""
    max_queued_runs: int = Field(default=200_000, ge=1)
    """Runs of one project that may wait or be under way at once."""
    max_queued_spec_bytes: int = Field(default=2 * GIB, ge=MIB)
    """Specs of the runs of one project that wait or are under way, scripts included."""
    max_batch_runs: int = Field(default=100_000, ge=1)
    """Runs of one batch."""
    max_batch_spec_bytes: int = Field(default=512 * MIB, ge=MIB)
    """Specs of the runs of one batch, scripts included."""
    run_life_days: float = Field(default=0.0, ge=0)
    """Days that terminal runs are kept; 0 keeps them for ever."""
    runs_kept: int = Field(default=0, ge=0)
    """Newest terminal runs that a project keeps; 0 keeps all."""
    log_life_days: float = Field(default=0.0, ge=0)
    """Days that the output of terminal runs is kept; 0 keeps it as long as the run."""
    artifact_life_days: float = Field(default=0.0, ge=0)
    """Days that the artifacts of terminal runs are kept; 0 keeps them as long as the run."""
    audit_life_days: float = Field(default=0.0, ge=0)
    """Days that entries of the audit log are kept; 0 keeps them for ever."""
    sweep_delay_s: float = Field(default=600.0, ge=0)
    """Before objects of what was deleted go: a trainer or evaluator may still write beside them."""
    projects: dict[str, ProjectSettings] = Field(default_factory=dict)
    """Limits and retention of single projects, as JSON: {"p": {"max_queued_runs": 100}}."""
    launcher: Literal["process", "kubernetes"] = "process"
    """How trainers run: on this machine, or as Jobs (LINNET_KUBERNETES_*)."""
    process_folder: Path | None = None
    """Where the process launcher keeps launches."""
    trainer_command: tuple[str, ...] = (sys.executable, "-P", "-m", "linnet_trainer", "run")
    """What the process launcher runs, as a JSON list."""
    process_shards: int = Field(default=2, ge=1, le=256)
    """Trainers that the process launcher runs at once."""
    max_shards: int = Field(default=1000, ge=1, le=100_000)
    """Shards of all projects that run at once on Kubernetes."""
    max_shards_per_project: int = Field(default=1000, ge=1, le=100_000)
    """Shards of one project that run at once."""
    batch_parallelism: int = Field(default=50, ge=1, le=1000)
    """Shards of a batch that run at once where the batch does not say."""
    default_cpu_millis: int = Field(default=1000, ge=1)
    """CPU of a trainer whose spec does not say."""
    max_cpu_millis: int | None = Field(default=None, ge=1)
    """Most CPU that a spec may ask for; by default the launcher's ceiling (16 cores, or
    LINNET_KUBERNETES_CEILING), which this can only lower."""
    default_memory_bytes: int = Field(default=2 * GIB, ge=256 * MIB)
    """Memory of a trainer whose spec does not say."""
    max_memory_bytes: int | None = Field(default=None, ge=256 * MIB)
    """Most memory that a spec may ask for; by default the launcher's ceiling (16 GiB)."""
    max_deadline_s: float | None = Field(default=None, gt=0)
    """Longest wall time of a run, and its default, in seconds; by default the launcher's ceiling
    (24 hours)."""
    expert_allowed: bool = True
    """Whether specs may bring scripts."""
    heartbeat_s: float = Field(default=60.0, gt=0)
    """A trainer that is silent for longer is taken for dead, in seconds."""
    cancel_grace_s: float = Field(default=30.0, gt=0)
    """Time that a trainer has to end a cancelled run, in seconds."""
    lost_attempts: int = Field(default=3, ge=1)
    """Attempts of a run that may be lost with their trainer."""
    analysis_at_once: int = Field(default=4, ge=1, le=256)
    """Runs that are evaluated at once, and as many that are profiled."""
    analysis_call_s: float = Field(default=300.0, gt=0)
    """Deadline of one call to evaluator or profiler, in seconds."""
    analysis_total_s: float = Field(default=1800.0, gt=0)
    """How long evaluation and profiling are tried, in seconds."""
    log_level: str = "INFO"
    """Lowest level that is logged."""
    drain_pause_s: float = Field(default=0.0, ge=0)
    """Time between NOT_SERVING and the end of new calls, in seconds; 5 in a cluster."""
    drain_grace_s: float = Field(default=5.0, ge=0)
    """Time that calls have to end, in seconds."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.launcher == "process" and self.process_folder is None:
            raise ValueError("the process launcher needs LINNET_GATEWAY_PROCESS_FOLDER")
        if not self.authenticates and not _is_loopback(self.host):
            raise ValueError(
                "without LINNET_GATEWAY_API_TOKEN, TOKENS_FILE or OIDC_ISSUER only a loopback "
                f"address is served, received host {self.host!r}"
            )
        if self.oidc_issuer and not (self.oidc_audience and self.oidc_jwks_url):
            raise ValueError("OIDC_ISSUER needs OIDC_AUDIENCE and OIDC_JWKS_URL")
        for origin in self.web_origins:
            if origin != "*" and not _ORIGIN.fullmatch(origin):
                raise ValueError(
                    f"WEB_ORIGINS: expected https://host[:port] without a path, received {origin!r}"
                )
        if any(name == "none" or name.startswith("HS") for name in self.oidc_algorithms):
            raise ValueError("OIDC_ALGORITHMS: expected asymmetric algorithms only")
        return self

    @property
    def authenticates(self) -> bool:
        """Whether callers have to say who they are."""
        return bool(self.api_token or self.tokens_file or self.oidc_issuer)

    @property
    def store(self) -> S3Location:
        """Where the object store is."""
        return S3Location(
            endpoint=self.store_endpoint,
            access_key=self.store_access_key,
            secret_key=self.store_secret_key.get_secret_value(),
            bucket=self.store_bucket,
            public_endpoint=self.store_public_endpoint,
        )

    @property
    def max_deadline(self) -> timedelta | None:
        """The longest wall time of a run; None leaves it to the launcher."""
        return None if self.max_deadline_s is None else timedelta(seconds=self.max_deadline_s)


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
