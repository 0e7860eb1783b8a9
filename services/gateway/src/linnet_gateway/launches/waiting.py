"""Tells runs why their launch is not under way yet."""

from collections.abc import Sequence
from contextlib import suppress
from functools import partial

from linnet_runtime.errors import NotFound

from linnet_gateway import transitions
from linnet_gateway.ports import Launches, Runs
from linnet_gateway.records import LaunchRecord, LaunchState

_TOLD_AT_ONCE = 100


class Waiting:
    """Remembers what was told, so that nothing is told twice."""

    def __init__(self, runs: Runs, launches: Launches) -> None:
        self._runs = runs
        self._launches = launches
        self._told: dict[str, str] = {}

    async def tell(self, launches: Sequence[LaunchRecord], kind: str, why: str) -> None:
        """Say why, once, to some of them: runs of a batch are too many for a text each.

        Args:
            launches: Those that wait; only planned ones are told.
            kind: Names the cause; the same one is not told again.
            why: For a person.
        """
        untold = [
            launch.uid
            for launch in launches
            if launch.state is LaunchState.PLANNED and launch.batch_uid is None
            if self._told.get(launch.uid) != kind
        ]
        for uid in untold[:_TOLD_AT_ONCE]:
            for run in await self._launches.unfinished(uid):
                with suppress(NotFound):
                    await self._runs.change(run.uid, partial(transitions.waiting, why=why))
            self._told[uid] = kind

    def forget(self, uid: str) -> None:
        """Drop what was told of a launch."""
        self._told.pop(uid, None)
