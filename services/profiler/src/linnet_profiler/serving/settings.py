"""Settings of the profiler service, from LINNET_PROFILER_* variables."""

from pathlib import Path

from linnet_runtime.rpc.tls_settings import TlsSettings
from pydantic import Field, SecretStr


class ProfilerSettings(TlsSettings):
    """What the service needs to know."""

    model_config = TlsSettings.env("LINNET_PROFILER_")

    host: str = "127.0.0.1"
    """Address to serve on; loopback unless told."""
    port: int = 0
    """Port of ProfilerService; 0 picks a free one."""
    metrics_port: int = 0
    """Port of /metrics; 0 picks a free one."""
    endpoint_file: Path | None = None
    """Where {"address", "metrics"} is written as JSON once the service serves."""
    service_token: SecretStr | None = Field(default=None, min_length=1)
    """What callers must present; without one everybody who reaches the port is served."""
    store_endpoint: str
    """Where the object store is, `http://host:port`."""
    store_access_key: str
    store_secret_key: str
    store_bucket: str = "linnet"
    model_limit_bytes: int = 64 * 1024 * 1024
    """Largest model file that is read; microcontrollers have a few megabytes of flash."""
    child_memory_bytes: int = 1024 * 1024 * 1024
    """Address space of the child that opens a model."""
    child_deadline_s: float = 20.0
    """Wall time of that child for one model on every target."""
    concurrency: int = 4
    """Models opened at once; further ones wait."""
    drain_pause_s: float = 0.0
    """Pause between NOT_SERVING and the listener's end; above a load balancer's probe period."""
    drain_s: float = Field(default=10.0, ge=0)
    """Time that calls have to end after SIGTERM, in seconds."""
    log_level: str = "INFO"
