"""The port through which trainers are started: one launch = N shards, each one trainer process.

The process adapter runs them on this machine, the Kubernetes adapter as one Indexed Job. The
launcher retries a shard whose trainer dies, up to its own limit; which run a shard works on next
is the gateway's matter alone, so that a retried shard goes on where it was.
"""

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from enum import Enum
from typing import Protocol

from linnet_runtime.errors import Unavailable

from linnet_gateway.states import Failure

CLUSTER_QUOTA = "CLUSTER_QUOTA_EXCEEDED"
"""Reason of a launch that a quota of the platform has refused for too long."""


class NoRoomYet(Unavailable):
    """The platform has no room for one launch now and may have later; others go on."""

    default_reason = "NO_ROOM_YET"


@dataclass(frozen=True, slots=True)
class Launch:
    """What to start.

    Attributes:
        uid: Names the launch for ever; 1 to 40 of a-z, 0-9 and -, begins with a letter.
        project: The project's id, for labels and limits.
        shard_count: Shards, 1 to 1,000; shard i is told its index i.
        parallelism: Shards that may run at once, at least 1; a launcher applies a new value when
            `launch` comes again with one.
        token: The launch token that every shard presents; a secret, never in argv, environment,
            Job specs, logs or errors.
        deadline: Wall time of the whole launch from its start; None means no limit.
        cpu_millis: CPU of one shard, in thousandths of a core.
        memory_bytes: Memory limit of one shard.
        expert: Whether it runs scripts of users; such a launch has one shard and one run.
        labels: Further labels, free of secrets.
        spec_digest: SHA-256 over everything that makes this launch what it is, parallelism and
            token excluded; the same uid with another digest is an error.
    """

    uid: str
    project: str
    shard_count: int
    parallelism: int
    token: str = field(repr=False)
    deadline: timedelta | None
    cpu_millis: int
    memory_bytes: int
    expert: bool
    labels: Mapping[str, str]
    spec_digest: str


TRAINER_NAME = "LINNET_TRAINER_NAME"
"""Variable by which a launcher tells a trainer process its name, another one for each process."""
_KEPT_ENDS = 8


class ShardState(Enum):
    """Where a shard stands; the last two are final."""

    PENDING = "pending"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class ShardStatus:
    """How a shard does.

    Attributes:
        index: From 0.
        state: PENDING also while it waits to be retried.
        failure: The latest failure of the shard's trainer, kept while it is retried; None if
            there was none.
        ended: Why each of its last trainers failed, by the name that the launcher gave it: only
            the one that held a run says what became of it.
    """

    index: int
    state: ShardState
    failure: Failure | None = None
    ended: Mapping[str, Failure] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class LaunchStatus:
    """How a launch does.

    Attributes:
        uid: The launch.
        ended: Nothing of it runs and nothing of it will run.
        shards: Shards in order of index; shards that a launcher has nothing to say about may be
            left out while the launch has not ended.
        failure: Why the launch as a whole ended or can't go on; None if it can.
    """

    uid: str
    ended: bool
    shards: tuple[ShardStatus, ...]
    failure: Failure | None = None


class Launcher(Protocol):
    """Starts and stops launches. Every method raises `Unavailable` when it can't tell."""

    async def launch(self, launch: Launch) -> None:
        """Start a launch; the same launch again changes nothing but its parallelism.

        Raises:
            AlreadyExists: Something of that uid exists with another `spec_digest`.
            NoRoomYet: A quota refuses it; it is tried again, after the others.
            QuotaExceeded: It did so for too long (`CLUSTER_QUOTA`), or the launch asks for more
                than its project may ever have.
            InvalidInput, NotAllowedInState: It can never be made as it is.
            LinnetError: It can't be made; not tried again if it is no `Unavailable`.
        """
        ...

    async def statuses(self) -> Mapping[str, LaunchStatus]:
        """Say how every launch does that exists, by uid, those that ended included."""
        ...

    async def stop(self, uid: str, *, keep_ended: bool = False) -> None:
        """End a launch and forget it; shards get SIGTERM and a grace time.

        Returns when the end is under way; `statuses` shows the launch, not ended, until nothing of
        it runs any more, then leaves it out. A uid that is not known is passed over.

        Args:
            uid: The launch.
            keep_ended: Whether what a platform shows of a launch that ended by itself may stay for
                a while, for people to look at; otherwise it goes at once.
        """
        ...

    async def end_trainer(self, uid: str, shard: int, trainer: str) -> None:
        """Kill a trainer of one shard; what follows is that of a crash, the others go on.

        Args:
            uid: The launch; one that is not known is passed over.
            shard: Index of the shard.
            trainer: Its name, as the launcher gave it: one that came in its place lives on. Empty
                where it said none; then whichever lives is meant.
        """
        ...

    def changes(self) -> AsyncIterator[str]:
        """Give the uid of each launch whose status may have changed, until cancelled.

        Hints only: none has to come, and a reader that falls behind may miss some.
        """
        ...

    async def ping(self) -> None:
        """Make sure that launches can be made."""
        ...


def kept_ends(
    ended: Mapping[str, Failure], trainer: str, failure: Failure
) -> Mapping[str, Failure]:
    """Add the end of a trainer to those of a shard, of which the last few are kept."""
    others = {name: end for name, end in ended.items() if name != trainer}
    kept = list(others.items())[1 - _KEPT_ENDS :]
    return dict([*kept, (trainer, failure)])
