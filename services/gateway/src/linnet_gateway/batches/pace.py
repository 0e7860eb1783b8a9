"""When a batch will be done: from the pace at which its runs end, as this replica sees it."""

from collections import OrderedDict, deque
from datetime import datetime, timedelta

from linnet_gateway.records import BatchRecord
from linnet_gateway.states import BatchState

_WINDOW = timedelta(minutes=10)
_BETWEEN = timedelta(seconds=5)
_ENOUGH = 3
"""Runs that must have ended within the window; below that the whole time since then counts."""
_MAX_BATCHES = 1024


class BatchPace:
    """Remembers how many runs of each batch were done at times of the last ten minutes.

    Time in which a batch waits or is suspended is not counted once it goes on.
    """

    def __init__(self) -> None:
        self._seen: OrderedDict[str, deque[tuple[datetime, int]]] = OrderedDict()

    def eta_seconds(self, batch: BatchRecord, done: int, left: int, now: datetime) -> float | None:
        """Estimate the time until the last run is over.

        Args:
            batch: The batch.
            done: Runs that are over.
            left: Runs that are not.
            now: The present time.

        Returns:
            Seconds; None for a batch that does not run, has no run left, or none that is over.
        """
        if batch.state is not BatchState.RUNNING or left == 0:
            self._seen.pop(batch.uid, None)
            return None
        first = self._note(batch.uid, done, now)
        if done == 0:
            return None
        ended, elapsed_s = done - first[1], (now - first[0]).total_seconds()
        if ended < _ENOUGH or elapsed_s <= 0:
            ended, elapsed_s = done, (now - batch.create_time).total_seconds()
        return left * elapsed_s / ended

    def _note(self, uid: str, done: int, now: datetime) -> tuple[datetime, int]:
        samples = self._seen.setdefault(uid, deque())
        self._seen.move_to_end(uid)
        if len(self._seen) > _MAX_BATCHES:
            self._seen.popitem(last=False)
        if samples and done < samples[-1][1]:
            samples.clear()
        # While nothing ends there is no pace to tell: waiting for the first run is not counted.
        if len(samples) == 1 and samples[0][1] == done == 0:
            samples.clear()
        if not samples or now - samples[-1][0] >= _BETWEEN:
            samples.append((now, done))
        while now - samples[0][0] > _WINDOW:
            samples.popleft()
        return samples[0]
