"""What a profile can fail with."""

from __future__ import annotations


class ModelError(ValueError):
    """The model file can't be read.

    Attributes:
        reason: Stable upper-case word for programs.
    """

    reason = "MODEL_INVALID"


class UnknownTargetError(ValueError):
    """No target has this id, core or kernel set.

    Attributes:
        reason: Stable upper-case word for programs.
    """

    reason = "TARGET_UNKNOWN"
