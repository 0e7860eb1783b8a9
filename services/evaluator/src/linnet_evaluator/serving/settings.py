"""Settings of the evaluator, from LINNET_EVALUATOR_* variables."""

from pathlib import Path

from linnet_runtime.rpc.tls_settings import TlsSettings
from linnet_runtime.s3 import S3Location
from linnet_runtime.sandbox import Limits
from pydantic import Field, SecretStr


class EvaluatorSettings(TlsSettings):
    """What a deployment decides."""

    model_config = TlsSettings.env("LINNET_EVALUATOR_")

    host: str = "127.0.0.1"
    """Address to serve on; `0.0.0.0` in a pod."""
    port: int = Field(default=0, ge=0, le=65_535)
    """Port of the gRPC service; 0 picks a free one."""
    metrics_port: int = Field(default=0, ge=0, le=65_535)
    """Port of /metrics; 0 picks a free one."""
    endpoint_file: Path | None = None
    """Where the process writes {"address", "metrics"} as JSON once it serves."""
    service_token: SecretStr | None = Field(default=None, min_length=1)
    """What callers must present; without one everybody who reaches the port is served."""
    store_endpoint: str
    """`http://host:port` of the object store."""
    store_public_endpoint: str = ""
    """The same as clients reach it."""
    store_access_key: str
    """Access key of the object store."""
    store_secret_key: str
    """Secret key of the object store."""
    store_bucket: str = "linnet"
    """Bucket that holds everything."""
    log_level: str = "INFO"
    """Lowest level that is logged."""
    concurrency: int = Field(default=2, ge=1, le=64)
    """Requests worked on at once; further ones wait."""
    dataset_cache_bytes: int = Field(default=1 << 30, ge=0)
    """Memory for datasets between requests."""
    model_wall_s: float = Field(default=300.0, gt=0)
    """Longest time that one model file may run, in seconds."""
    model_memory_bytes: int = Field(default=2 << 30, ge=1 << 24)
    """Memory that one model file may take beyond its input, in bytes."""
    projection_wall_s: float = Field(default=900.0, gt=0)
    """Longest time of one projection, in seconds."""
    projection_memory_bytes: int = Field(default=4 << 30, ge=1 << 26)
    """Memory that one projection may take beyond its input, in bytes."""
    drain_s: float = Field(default=20.0, ge=0)
    """Time that calls have to end after SIGTERM, in seconds."""

    @property
    def store(self) -> S3Location:
        """Where the object store is."""
        return S3Location(
            endpoint=self.store_endpoint,
            access_key=self.store_access_key,
            secret_key=self.store_secret_key,
            bucket=self.store_bucket,
            public_endpoint=self.store_public_endpoint,
        )

    @property
    def model_limits(self) -> Limits:
        """What one model file may use."""
        return Limits(
            wall_s=self.model_wall_s,
            memory_bytes=self.model_memory_bytes,
            output_bytes=self.model_memory_bytes,
        )

    @property
    def projection_limits(self) -> Limits:
        """What one projection may use."""
        return Limits(wall_s=self.projection_wall_s, memory_bytes=self.projection_memory_bytes)
