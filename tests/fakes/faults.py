"""Where a gateway dies, and how often what it calls fails.

A point lies before and after each transaction, each call of the launcher and each call of the
store; around each request that changes something in a cluster lie points that are counted apart.
What a dead gateway still tries to do, fails.
"""

import random
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from linnet_gateway.launches.launcher import Launch, LaunchStatus
from linnet_runtime.errors import Unavailable

from tests.fakes.launcher import FakeLauncher
from tests.fakes.objectstore import MemoryStore


class Killed(BaseException):
    """The gateway that runs this is dead."""


@dataclass
class Faults:
    """When a gateway dies, and how often the store fails.

    Attributes:
        kill_at: Number of the point at which it dies; 0 for never.
        kill_at_call: The same for the points around requests to a cluster.
        store_failures: Share of store calls that fail, half of them after they took effect.
        lost_answers: Share of commits and launcher calls that take effect but whose answer is lost.
        lost_calls: The same share of requests to a cluster.
        doing: What the gateway does now.
        crossed: What it did at each point so far.
        calls: Which request each point around one was about, so far.
    """

    kill_at: int = 0
    kill_at_call: int = 0
    store_failures: float = 0.0
    lost_answers: float = 0.0
    lost_calls: float = 0.0
    chance: random.Random = field(default_factory=lambda: random.Random(0))
    points: int = 0
    dead: bool = False
    doing: str = ""
    crossed: list[str] = field(default_factory=list)
    calls: list[str] = field(default_factory=list)

    def point(self) -> None:
        """Die here, if this is the point, or if it was before."""
        self.points += 1
        self.crossed.append(self.doing)
        if self.points == self.kill_at:
            self.dead = True
        self.live()

    def call_point(self, call: str) -> None:
        """The same around a request to a cluster, such as `before POST jobs`."""
        self.calls.append(call)
        if len(self.calls) == self.kill_at_call:
            self.dead = True
        self.live()

    def live(self) -> None:
        """Fail what a dead gateway still tries to do."""
        if self.dead:
            raise Killed

    def revive(self) -> None:
        """Begin the next life, which nothing kills."""
        self.kill_at, self.kill_at_call, self.dead = 0, 0, False

    def answer(self) -> None:
        """Lose the answer of what took effect, by chance."""
        if self.lost_answers and self.chance.random() < self.lost_answers:
            raise Unavailable("the answer is lost")

    def loses_call(self) -> bool:
        """Say, by chance, whether the answer of a request to a cluster gets lost."""
        return self.lost_calls > 0 and self.chance.random() < self.lost_calls

    def around(self, call: Callable[[], Any]) -> Any:
        """Call with a point before and after."""
        self.point()
        answer = call()
        self.point()
        return answer


class FaultyStore(MemoryStore):
    """The store as a gateway reaches it."""

    def __init__(self, inner: MemoryStore, faults: Faults) -> None:
        self.objects = inner.objects
        self._faults = faults

    def _call(self, call: Callable[[], Any]) -> Any:
        fails = self._faults.chance.random() < self._faults.store_failures
        if fails and self._faults.chance.random() < 0.5:
            raise Unavailable("the store fails before it has done it")
        answer = self._faults.around(call)
        if fails:
            raise Unavailable("the store's answer is lost")
        return answer

    def put(self, key: str, data: bytes, content_type: str = "") -> None:
        self._call(lambda: MemoryStore.put(self, key, data, content_type))

    def get(self, key: str, *, offset: int = 0, length: int | None = None) -> bytes:
        return bytes(self._call(lambda: MemoryStore.get(self, key, offset=offset, length=length)))

    def copy(self, source: str, target: str) -> None:
        self._call(lambda: MemoryStore.copy(self, source, target))

    def stat(self, key: str) -> Any:
        return self._call(lambda: MemoryStore.stat(self, key))

    def list(self, prefix: str) -> Iterable[Any]:
        found: Iterable[Any] = self._call(lambda: MemoryStore.list(self, prefix))
        return found

    def delete(self, keys: Iterable[str]) -> None:
        self._call(lambda: MemoryStore.delete(self, keys))


class KillableLauncher:
    """The launcher as a gateway reaches it."""

    def __init__(self, inner: FakeLauncher, faults: Faults) -> None:
        self._inner = inner
        self._faults = faults

    async def launch(self, launch: Launch) -> None:
        self._faults.point()
        await self._inner.launch(launch)
        self._faults.point()
        self._faults.answer()

    async def statuses(self) -> Mapping[str, LaunchStatus]:
        self._faults.point()
        return await self._inner.statuses()

    async def stop(self, uid: str, *, keep_ended: bool = False) -> None:
        self._faults.point()
        await self._inner.stop(uid, keep_ended=keep_ended)
        self._faults.point()
        self._faults.answer()

    async def end_trainer(self, uid: str, shard: int, trainer: str) -> None:
        self._faults.point()
        await self._inner.end_trainer(uid, shard, trainer)
        self._faults.point()
        self._faults.answer()

    def changes(self) -> Any:
        return self._inner.changes()

    async def ping(self) -> None:
        await self._inner.ping()

    async def close(self) -> None:
        """Nothing is open."""
