"""What it means for a launch's runs that the launcher refuses it. Pure."""

from linnet_runtime.errors import InvalidInput, LinnetError, NotAllowedInState, QuotaExceeded

from linnet_gateway.launches.launcher import CLUSTER_QUOTA
from linnet_gateway.states import Failure, FailureReason


def failure_of(error: LinnetError) -> Failure:
    """Give the failure of a launch that was refused for good.

    What the launcher will never take, such as a script where nothing keeps scripts apart, is no
    matter of another try; its message begins with the launcher's own reason.
    """
    if error.reason == CLUSTER_QUOTA:
        return Failure(FailureReason.QUOTA_EXCEEDED, error.message)
    if isinstance(error, InvalidInput | NotAllowedInState | QuotaExceeded):
        return Failure(FailureReason.INVALID_SPEC, f"{error.reason}: {error.message}")
    return Failure(FailureReason.LAUNCH_FAILED, error.message)
