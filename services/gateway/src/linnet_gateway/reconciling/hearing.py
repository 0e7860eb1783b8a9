"""Whether trainers could have been heard for as long as they may be silent."""

from datetime import datetime, timedelta


class Hearing:
    """Remembers since when the records could take reports.

    A gateway that was away, records that could not be reached and a clock that jumped look to the
    reconciler as if every trainer had been silent.
    """

    def __init__(self, heartbeat: timedelta, idle: timedelta) -> None:
        """Make one that has heard nothing yet.

        Args:
            heartbeat: How long a trainer may be silent.
            idle: Longest time between two looks while all is well.
        """
        self._heartbeat = heartbeat
        self._longest_gap = heartbeat / 2 + idle
        self._since: datetime | None = None
        self._looked: datetime | None = None

    def long_enough(self, now: datetime) -> bool:
        """Note a look at the records that succeeded; say whether silence means something yet."""
        looked, self._looked = self._looked, now
        if self._since is None or looked is None or now - looked > self._longest_gap:
            self._since = now
        return now - self._since >= self._heartbeat
