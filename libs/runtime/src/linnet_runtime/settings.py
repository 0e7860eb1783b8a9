"""Settings of a process: read once from the environment, all problems told at once."""

import os
from pathlib import Path
from typing import Any, Self

from pydantic import ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from linnet_runtime.errors import InvalidInput, Violation


class ServiceSettings(BaseSettings):
    """Base of each service's settings.

    A subclass sets `model_config = ServiceSettings.env("LINNET_GATEWAY_")`. Each field may also
    come from a file: `LINNET_GATEWAY_STORE_SECRET_KEY_FILE=/run/secrets/key` gives
    `store_secret_key`.
    """

    model_config = SettingsConfigDict(frozen=True, extra="forbid")

    @staticmethod
    def env(prefix: str) -> SettingsConfigDict:
        """Make the configuration of a subclass whose variables begin with `prefix`."""
        return SettingsConfigDict(frozen=True, extra="forbid", env_prefix=prefix)

    @classmethod
    def read(cls, **overrides: Any) -> Self:
        """Read the environment.

        Raises:
            InvalidInput: A variable is unknown, missing or wrong; names every such variable.
        """
        prefix = cls.model_config.get("env_prefix", "")
        violations: list[Violation] = []
        known = {prefix + name.upper(): name for name in cls.model_fields}
        values: dict[str, Any] = {}
        for variable, value in os.environ.items():
            if not prefix or not variable.startswith(prefix):
                continue
            field = known.get(variable.removesuffix("_FILE"))
            if variable in known:
                continue
            if field is None or not variable.endswith("_FILE"):
                violations.append(Violation(variable, "expected a known variable, received this"))
                continue
            try:
                values[field] = Path(value).read_text(encoding="utf-8").strip()
            except OSError as error:
                violations.append(Violation(variable, f"expected a readable file: {error}"))
        try:
            settings = cls(**(values | overrides))
        except ValidationError as error:
            for problem in error.errors(include_input=False, include_url=False):
                variable = prefix + "_".join(str(part) for part in problem["loc"]).upper()
                violations.append(Violation(variable, problem["msg"]))
        if violations:
            raise InvalidInput(violations, reason="INVALID_SETTINGS")
        return settings
