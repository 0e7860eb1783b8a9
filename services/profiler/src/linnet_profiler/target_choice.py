"""Which targets a request means."""

from collections.abc import Sequence

from linnet_profiler.errors import UnknownTargetError
from linnet_profiler.targets import Target, find_target, targets


def chosen_targets(
    ids: Sequence[str],
    kernels: str | None,
    clock_hz: int | None,
    custom: Sequence[Target] = (),
) -> list[Target]:
    """Give the targets of a request, with its kernels and clock where it names them.

    Args:
        ids: Boards; empty without custom targets means every board that can have the kernels.
        kernels: Kernel set other than the targets' own.
        clock_hz: Clock other than the targets' own.
        custom: Targets that are no boards, after those.

    Raises:
        UnknownTargetError: A board is not known, its core has no build of the kernels, or no board
            has them.
    """
    if ids or custom:
        found = [*map(find_target, ids), *custom]
    else:
        found = [
            one for one in targets().values() if kernels is None or kernels in one.core.libraries
        ]
    if not found:
        raise UnknownTargetError(f"kernels: no board has {kernels!r}")
    return [adjusted(one, kernels, clock_hz) for one in found]


def adjusted(target: Target, kernels: str | None, clock_hz: int | None) -> Target:
    """The same target with other kernels or another clock, where one is given.

    Raises:
        UnknownTargetError: The core has no build of these kernels.
    """
    if kernels is not None:
        target = target.with_kernels(kernels)
    return target if clock_hz is None else target.with_clock(clock_hz)
