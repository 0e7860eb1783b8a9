"""Takes reports of many trainers and stores them together."""

import asyncio

from linnet_runtime.clock import Clock

from linnet_gateway.ports import Trainings
from linnet_gateway.reported import Report, Stored

_GATHER_S = 0.02
_MAX_GROUP = 500


class Ingest:
    """Stores each report and answers when it is durable."""

    def __init__(self, trainings: Trainings, clock: Clock) -> None:
        self._trainings = trainings
        self._clock = clock
        self._waiting: list[tuple[Report, asyncio.Future[Stored]]] = []
        self._flusher: asyncio.Task[None] | None = None

    async def store(self, report: Report) -> Stored:
        """Store one report with whatever else comes within twenty milliseconds.

        Raises:
            Unavailable: The database can't be reached; the same report may be stored again.
        """
        answer: asyncio.Future[Stored] = asyncio.get_running_loop().create_future()
        self._waiting.append((report, answer))
        if self._flusher is None or self._flusher.done():
            self._flusher = asyncio.create_task(self._flush())
        return await answer

    async def _flush(self) -> None:
        while self._waiting:
            await asyncio.sleep(_GATHER_S)
            group, self._waiting = self._waiting[:_MAX_GROUP], self._waiting[_MAX_GROUP:]
            try:
                stored = await self._trainings.store_reports(
                    [report for report, _ in group], self._clock.now()
                )
            except Exception as error:  # noqa: BLE001 - each trainer is told of it
                for _, answer in group:
                    if not answer.done():
                        answer.set_exception(error)
            else:
                for (_, answer), one in zip(group, stored, strict=True):
                    if not answer.done():
                        answer.set_result(one)
