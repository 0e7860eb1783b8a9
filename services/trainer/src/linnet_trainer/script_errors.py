"""What an expert script did wrong."""

from linnet_runtime.errors import LinnetError


class ScriptFailed(LinnetError):
    """An expert script raised; the message ends with its own lines of the traceback."""

    default_reason = "SCRIPT_ERROR"
