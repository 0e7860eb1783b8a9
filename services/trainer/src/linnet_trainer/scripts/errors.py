"""How an expert script can fail."""

from linnet_runtime.errors import Code, LinnetError


class ScriptFailed(LinnetError):
    """An expert script raised; the message ends with its own lines of the traceback."""

    default_reason = "SCRIPT_ERROR"


class ScriptOutOfMemory(LinnetError):
    """An expert script asked for more memory than its run has."""

    default_reason = "OUT_OF_MEMORY"


class ScriptTooSlow(LinnetError):
    """An expert script did not end in its time and left no model."""

    code = Code.DEADLINE_EXCEEDED
    default_reason = "DEADLINE_EXCEEDED"
