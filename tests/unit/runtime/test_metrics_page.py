"""The page tells the health of a process beside its metrics, whatever its other ports speak."""

from __future__ import annotations

import asyncio
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from linnet_runtime.metrics_http import MetricsPage, new_registry


@dataclass
class Served:
    """A page, and what it is told about the process."""

    page: MetricsPage
    serving: bool = True

    def get(self, path: str) -> tuple[int, str]:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.page.port}{path}") as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()

    async def ask(self, path: str) -> tuple[int, str]:
        return await asyncio.to_thread(self.get, path)


@pytest.fixture
async def served() -> Iterator[Served]:
    page = MetricsPage(new_registry(), "127.0.0.1", 0, serving=lambda: told.serving, answer_s=0.2)
    told = Served(page)
    yield told
    await asyncio.to_thread(page.close)


async def test_a_process_that_serves_is_ready(served: Served) -> None:
    """Health is on paths of its own, and every other one has the metrics."""
    assert await served.ask("/readyz") == (200, "ok\n")
    assert await served.ask("/livez") == (200, "ok\n")
    status, text = await served.ask("/metrics")
    assert status == 200
    assert "process_resident_memory_bytes" in text


async def test_a_process_that_starts_or_drains_is_alive_and_not_ready(served: Served) -> None:
    """It is taken out of its Services, and not killed."""
    served.serving = False
    assert await served.ask("/readyz") == (503, "no calls are served\n")
    assert await served.ask("/livez") == (200, "ok\n")


async def test_an_event_loop_that_hangs_is_found(served: Served) -> None:
    """Ports accept as long as the process lives; the page asks the loop behind them."""
    answers: dict[str, tuple[int, str]] = {}
    told = threading.Event()

    def look() -> None:
        for path in ("/livez", "/readyz"):
            answers[path] = served.get(path)
        told.set()

    threading.Thread(target=look).start()
    # Nothing else runs in the loop until both have been answered.
    assert told.wait(20)
    assert {status for status, _ in answers.values()} == {503}
    assert "did not answer" in answers["/livez"][1]
    assert await served.ask("/readyz") == (200, "ok\n")
