"""Where requests are worked on: a few at once, equal ones once."""

import asyncio
import time
from collections.abc import Callable
from typing import Any, TypeVar

from linnet_runtime.errors import LinnetError

from linnet_evaluator.serving.metrics import EvaluatorMetrics
from linnet_evaluator.serving.single_flight import SingleFlight

T = TypeVar("T")


class Workplace:
    """Runs blocking work in threads.

    Args:
        metrics: Counters.
        concurrency: Pieces of work at once; further ones wait.
    """

    def __init__(self, metrics: EvaluatorMetrics, concurrency: int) -> None:
        self.metrics = metrics
        self._places = asyncio.Semaphore(concurrency)
        self._flights: SingleFlight[Any] = SingleFlight()

    async def once(self, kind: str, key: str, work: Callable[[], T]) -> T:
        """Do the work of a key, or wait for it where it is in progress."""
        result: T = await self._flights.run(f"{kind}:{key}", lambda: self._do(kind, work))
        return result

    async def _do(self, kind: str, work: Callable[[], T]) -> T:
        self.metrics.waiting.inc()
        try:
            await self._places.acquire()
        finally:
            self.metrics.waiting.dec()
        begun = time.perf_counter()
        self.metrics.running.inc()
        try:
            result = await asyncio.to_thread(work)
        except LinnetError as error:
            self.metrics.failures.labels(kind, error.reason).inc()
            raise
        finally:
            self.metrics.running.dec()
            self._places.release()
        self.metrics.work_seconds.labels(kind).observe(time.perf_counter() - begun)
        self.metrics.answers.labels(kind, "work").inc()
        return result
