"""What the API server says when it refuses a call."""

import json
from collections.abc import Mapping

from linnet_runtime.errors import LinnetError

_GONE = 410


class ApiError(LinnetError):
    """The API server refused a call.

    Attributes:
        status: HTTP status.
        reason_word: Kubernetes' reason, such as `AlreadyExists`.
    """

    default_reason = "KUBERNETES_REFUSED"

    def __init__(self, status: int, reason_word: str, message: str) -> None:
        super().__init__(
            f"Kubernetes answered {status} {reason_word}: {message}",
            metadata={"status": str(status), "reason": reason_word},
        )
        self.status = status
        self.reason_word = reason_word
        self.said = message


class Expired(LinnetError):
    """A resource version or a continue token is too old: list anew."""

    default_reason = "KUBERNETES_EXPIRED"


def refusal(status: int, content: bytes) -> LinnetError:
    """Read the error that the API server answered with."""
    try:
        said = json.loads(content)
    except ValueError:
        said = {"message": content[:500].decode(errors="replace")}
    message = str(said.get("message", ""))
    if status == _GONE:
        return Expired(f"Kubernetes forgot what was asked for: {message}")
    return ApiError(status, str(said.get("reason", "")), message)


def retry_after_s(headers: Mapping[str, str]) -> float:
    """Say how long the server asks to wait; 0 if it does not."""
    try:
        return max(0.0, float(headers.get("Retry-After", "0")))
    except ValueError:
        return 0.0
