"""What a profile can fail with."""

from __future__ import annotations

from linnet_runtime.errors import InvalidInput, Violation


class ModelError(InvalidInput):
    """The model file can't be read."""

    default_reason = "MODEL_INVALID"

    def __init__(self, description: str) -> None:
        """Take what is wrong, such as "tensor 3: buffer 9 of 5"."""
        part, _, rest = description.partition(": ")
        super().__init__([Violation(part, rest or description)])


class UnknownTargetError(InvalidInput):
    """No target has this id, core or kernel set."""

    default_reason = "TARGET_UNKNOWN"

    def __init__(self, description: str) -> None:
        """Take the field and what is wrong, such as "target: no board 'x'"."""
        part, _, rest = description.partition(": ")
        super().__init__([Violation(part, rest or description)])
