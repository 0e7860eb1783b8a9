"""What is kept of a run, and what is said where retention took it."""

from linnet_runtime.errors import NotAllowedInState

from linnet_gateway.records import RunRecord


def check_artifacts_kept(run: RunRecord) -> None:
    """Refuse what needs artifacts that are gone; raises `NotAllowedInState` (ARTIFACTS_EXPIRED)."""
    gone = run.artifacts_delete_time
    if gone is not None:
        raise NotAllowedInState(
            f"the artifacts of {run.name} were deleted at {gone:%Y-%m-%d %H:%M} UTC, as its "
            "project's retention says",
            reason="ARTIFACTS_EXPIRED",
            metadata={"run": run.name, "delete_time": gone.isoformat()},
        )


def check_log_kept(run: RunRecord) -> None:
    """Refuse to read output that is gone; raises `NotAllowedInState` (LOG_EXPIRED)."""
    gone = run.log_delete_time
    if gone is not None:
        raise NotAllowedInState(
            f"the output of {run.name} was deleted at {gone:%Y-%m-%d %H:%M} UTC, as its "
            "project's retention says",
            reason="LOG_EXPIRED",
            metadata={"run": run.name, "delete_time": gone.isoformat()},
        )
