"""Exit codes of `linnet`, after sysexits(3), and how errors are shown."""

from enum import IntEnum

from linnet_runtime import errors


class CommandExit(IntEnum):
    """Exit codes; documented in docs/quickstart.md."""

    OK = 0
    RUN_DID_NOT_SUCCEED = 1
    USAGE = 2
    INVALID_INPUT = 65
    NOT_FOUND = 66
    UNAVAILABLE = 69
    INTERNAL = 70
    NOT_ALLOWED_NOW = 73
    TRY_AGAIN = 75
    NOT_PERMITTED = 77
    INTERRUPTED = 130


_BY_CODE = {
    errors.Code.INVALID_ARGUMENT: CommandExit.INVALID_INPUT,
    errors.Code.NOT_FOUND: CommandExit.NOT_FOUND,
    errors.Code.UNAVAILABLE: CommandExit.UNAVAILABLE,
    errors.Code.ALREADY_EXISTS: CommandExit.NOT_ALLOWED_NOW,
    errors.Code.FAILED_PRECONDITION: CommandExit.NOT_ALLOWED_NOW,
    errors.Code.ABORTED: CommandExit.TRY_AGAIN,
    errors.Code.RESOURCE_EXHAUSTED: CommandExit.TRY_AGAIN,
    errors.Code.DEADLINE_EXCEEDED: CommandExit.TRY_AGAIN,
    errors.Code.PERMISSION_DENIED: CommandExit.NOT_PERMITTED,
    errors.Code.UNAUTHENTICATED: CommandExit.NOT_PERMITTED,
}


def exit_code_of(error: errors.LinnetError) -> CommandExit:
    """Give the exit code that an error ends a command with."""
    return _BY_CODE.get(error.code, CommandExit.INTERNAL)


def lines_of(error: errors.LinnetError) -> list[str]:
    """Give what is told of an error: one line a wrong field, its path first, else its message."""
    if isinstance(error, errors.InvalidInput):
        return [f"{v.field}: {v.description}" for v in error.violations]
    return [error.message or error.reason]
