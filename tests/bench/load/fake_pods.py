"""Pods of launches on fake nodes: told of as they begin to run, and made to succeed."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from linnet_gateway.kubernetes import marks
from linnet_gateway.kubernetes.client import Api

_QUIET_S = 600.0

OnRunning = Callable[[str, int], Awaitable[None]]
"""Called with the uid of a launch and the index of a shard."""


class FakePods:
    """Follows the trainer pods of a namespace."""

    def __init__(self, api: Api, namespace: str, may_end: str) -> None:
        self._api = api
        self._path = f"/api/v1/namespaces/{namespace}/pods"
        self._may_end = may_end
        self._names: dict[tuple[str, int], str] = {}
        self._running_at: dict[str, list[float]] = {}
        self._came = asyncio.Condition()

    async def follow(self, on_running: OnRunning) -> None:
        """Call for each pod that begins to run, until cancelled."""
        while True:
            # The server ends a watch that reads late; the next one begins with what there is.
            async with self._api.stream(self._path, _QUIET_S) as events:
                async for event in events:
                    await self._see(event["object"], on_running)

    async def _see(self, pod: Mapping[str, Any], on_running: OnRunning) -> None:
        if pod["status"].get("phase") != "Running":
            return
        launch = str(pod["metadata"]["labels"][marks.LAUNCH])
        shard = int(pod["metadata"]["annotations"][marks.COMPLETION_INDEX])
        if (launch, shard) in self._names:
            return
        self._names[launch, shard] = pod["metadata"]["name"]
        self._running_at.setdefault(launch, []).append(time.monotonic())
        await on_running(launch, shard)
        async with self._came:
            self._came.notify_all()

    async def until_running(self, launch: str, shards: int) -> float:
        """Wait until all shards of a launch run; give when the last began, monotonic."""
        async with self._came:
            await self._came.wait_for(lambda: len(self._running_at.get(launch, ())) == shards)
        return max(self._running_at[launch])

    async def end(self, launch: str, shard: int) -> None:
        """Let the pod of a shard succeed, as it does when its trainer has no run left."""
        path = f"{self._path}/{self._names[launch, shard]}"
        await self._api.merge(path, {"metadata": {"annotations": {self._may_end: "true"}}})
