"""Settings of a trainer that works for a gateway; read once from LINNET_TRAINER_* variables."""

import os
import tempfile
from pathlib import Path

from linnet_runtime.errors import InvalidInput
from linnet_runtime.settings import ServiceSettings
from pydantic import Field, SecretStr


class TrainerSettings(ServiceSettings):
    """What a trainer must know of its launch."""

    model_config = ServiceSettings.env("LINNET_TRAINER_")

    gateway: str = Field(pattern=r".+:\d+$")
    """`host:port` of RunnerService."""
    token: SecretStr
    """The launch token; usually from the file that LINNET_TRAINER_TOKEN_FILE names."""
    gateway_ca_file: Path | None = None
    """Certificates that the gateway's may be signed by; none speaks without TLS."""
    shard: int | None = Field(None, ge=0)
    """Index of the shard; JOB_COMPLETION_INDEX where it is not set."""
    name: str = Field("", max_length=64)
    """What its launcher calls this process, another name for each; empty: it makes one up."""
    scratch: Path = Path(tempfile.gettempdir())
    """Where datasets and artifacts lie while they are needed."""
    patience_s: float = Field(900.0, gt=0)
    """How long the gateway and the store may be away before the trainer gives up, in seconds."""

    def shard_index(self) -> int:
        """Give the index of the shard.

        Raises:
            InvalidInput: Neither variable says it.
        """
        if self.shard is not None:
            return self.shard
        given = os.environ.get("JOB_COMPLETION_INDEX", "")
        if not given.isdecimal():
            raise InvalidInput.of(
                "LINNET_TRAINER_SHARD",
                f"expected it or JOB_COMPLETION_INDEX as a number, received {given!r}",
            )
        return int(given)


def read_settings() -> TrainerSettings:
    """Read the environment.

    `LINNET_TRAINER_GATEWAY_CA_FILE` is a path itself, not the name of a file with a value.

    Raises:
        InvalidInput: Names every variable that is wrong.
    """
    return TrainerSettings.read()
