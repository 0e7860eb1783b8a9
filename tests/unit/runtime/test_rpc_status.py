"""Errors keep their meaning over a wire."""

import pytest
from linnet_runtime import errors
from linnet_runtime.errors import InvalidInput, Violation
from linnet_runtime.rpc.status import from_status, to_status

KINDS = [
    errors.Unauthenticated("who"),
    errors.PermissionDenied("no", reason="ROLE_MISSING", metadata={"role": "admin"}),
    errors.AlreadyExists("twice"),
    errors.Conflict("changed"),
    errors.NotAllowedInState("ended", reason="RUN_ENDED"),
    errors.QuotaExceeded("full"),
    errors.DeadlineExceeded("slow"),
    errors.Unavailable("down", retry_after_s=3),
]


@pytest.mark.parametrize("error", KINDS, ids=lambda e: type(e).__name__)
def test_an_error_comes_back_as_itself(error):
    """Class, message, reason and metadata survive the way to a status and back."""
    back = from_status(to_status(error))

    assert type(back) is type(error)
    assert (back.message, back.reason, back.metadata) == (
        error.message,
        error.reason,
        error.metadata,
    )


def test_every_wrong_field_comes_back():
    """The violations of an InvalidInput survive, in order."""
    error = InvalidInput(
        [Violation("run.spec.fit.epochs", "must be positive"), Violation("b", "c")]
    )

    back = from_status(to_status(error))

    assert isinstance(back, InvalidInput)
    assert back.violations == error.violations


def test_a_missing_resource_comes_back_with_its_name():
    """NotFound keeps kind and name."""
    back = from_status(to_status(errors.NotFound("run", "projects/p/runs/r")))

    assert isinstance(back, errors.NotFound)
    assert (back.kind, back.name) == ("run", "projects/p/runs/r")


def test_an_unexpected_error_tells_nothing():
    """The text of an unexpected exception never leaves the service."""
    status = to_status(RuntimeError("password=hunter2"))

    assert "hunter2" not in str(status)
    assert from_status(status).reason == "INTERNAL"
