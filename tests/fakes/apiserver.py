"""A small API server over real HTTP, for what a real one does too rarely to wait for.

It holds Jobs and Leases, lists and watches them with resource versions and bookmarks, refuses
stale updates, and on request is busy (429), forgets its history (410) or falls silent.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from aiohttp import web

Object = dict[str, Any]


class FakeApiServer:
    """State and faults; `serving` gives one that listens.

    Attributes:
        url: Where it listens.
        busy: How many calls are still answered with 429.
        retry_after_s: What those answers ask for.
        silent: Watches are accepted and then say nothing, and connections stay open.
        calls: Method and path of every call, watches included, as `WATCH`.
        most_at_once: Most calls that were ever under way together.
        delay_s: How long each call takes.
        stuck: Paths of what is not gone when it was deleted.
        forbidden: What each call that makes something is refused with, when it is not empty.
        page: Answers every call that is no watch, when it is not empty.
        garbage: A line that the next watch says before anything else.
        lists_wait: Lists are read, and their answers wait until this is set again.
        lists_waiting: How many wait now.
    """

    def __init__(self) -> None:
        self.url = ""
        self.busy = 0
        self.retry_after_s: float | None = None
        self.silent = False
        self.delay_s = 0.0
        self.stuck: set[str] = set()
        self.forbidden = ""
        self.page = b""
        self.garbage = b""
        self.lists_wait = asyncio.Event()
        self.lists_wait.set()
        self.lists_waiting = 0
        self.calls: list[tuple[str, str]] = []
        self.most_at_once = 0
        self._at_once = 0
        self._version = 100
        self._oldest = 0
        self._objects: dict[str, Object] = {}
        self._history: list[tuple[int, str, Object]] = []
        self._changed = asyncio.Condition()

    def watches(self) -> int:
        """How many watches were opened."""
        return sum(method == "WATCH" for method, _ in self.calls)

    def lists(self) -> int:
        """How many times Jobs were listed."""
        return sum(call == ("GET", "/jobs") for call in self.calls)

    async def put(self, path: str, thing: Object) -> Object:
        """Store an object and tell watchers."""
        self._version += 1
        known = self._objects.get(path)
        kind = "ADDED" if known is None else "MODIFIED"
        uid = f"uid-{self._version}" if known is None else known["metadata"]["uid"]
        thing = json.loads(json.dumps(thing))
        thing["metadata"]["resourceVersion"] = str(self._version)
        thing["metadata"]["uid"] = uid
        self._objects[path] = thing
        await self._tell(kind, thing)
        return thing

    async def remove(self, path: str) -> None:
        """Delete an object and tell watchers."""
        self._version += 1
        gone = self._objects.pop(path)
        gone["metadata"]["resourceVersion"] = str(self._version)
        await self._tell("DELETED", gone)

    async def compact(self) -> None:
        """Forget all history: a watch from an earlier version gets 410."""
        self._version += 1
        self._oldest = self._version

    async def bookmark(self) -> None:
        """Send every watcher a bookmark."""
        await self._tell("BOOKMARK", {"metadata": {"resourceVersion": str(self._version)}})

    async def _tell(self, kind: str, thing: Object) -> None:
        async with self._changed:
            self._history.append((self._version, kind, json.loads(json.dumps(thing))))
            self._changed.notify_all()

    async def handle(self, request: web.Request) -> web.StreamResponse:
        path = "/" + request.path.split("/namespaces/", 1)[1].split("/", 1)[1]
        if "watch" in request.query:
            self.calls.append(("WATCH", path))
            return await self._watch(request)
        self.calls.append((request.method, path))
        self._at_once += 1
        self.most_at_once = max(self.most_at_once, self._at_once)
        try:
            await asyncio.sleep(self.delay_s)
            if self.page:
                return web.Response(body=self.page)
            return await self._answer(request, path)
        finally:
            self._at_once -= 1

    async def _answer(self, request: web.Request, path: str) -> web.Response:
        if self.busy:
            self.busy -= 1
            headers = {} if self.retry_after_s is None else {"Retry-After": str(self.retry_after_s)}
            return _refused(429, "TooManyRequests", headers)
        if request.method == "GET" and path in {"/jobs", "/pods", "/events"}:
            items = [o for p, o in self._objects.items() if p.startswith(path + "/")]
            version = {"resourceVersion": str(self._version)}
            listing = web.json_response({"metadata": version, "items": items})
            self.lists_waiting += 1
            await self.lists_wait.wait()
            self.lists_waiting -= 1
            return listing
        if request.method == "POST":
            return await self._create(path, await request.json())
        known = self._objects.get(path)
        if known is None:
            return _refused(404, "NotFound")
        if request.method == "PUT":
            return await self._replace(path, known, await request.json())
        if request.method == "DELETE":
            await self._delete(path, known)
        return web.json_response(known)

    async def _create(self, folder: str, thing: Object) -> web.Response:
        if self.forbidden:
            return _refused(403, "Forbidden", message=self.forbidden)
        path = f"{folder}/{thing['metadata']['name']}"
        if path in self._objects:
            return _refused(409, "AlreadyExists")
        return web.json_response(await self.put(path, thing), status=201)

    async def _replace(self, path: str, known: Object, thing: Object) -> web.Response:
        if thing["metadata"]["resourceVersion"] != known["metadata"]["resourceVersion"]:
            return _refused(409, "Conflict")
        return web.json_response(await self.put(path, thing))

    async def _delete(self, path: str, known: Object) -> None:
        """Delete at once, but for what `stuck` names: that is marked, as with a finalizer."""
        if path in self.stuck:
            known["metadata"]["deletionTimestamp"] = "2026-01-02T03:04:05Z"
        else:
            await self.remove(path)

    async def _watch(self, request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        garbage, self.garbage = self.garbage, b""
        await response.write(garbage)
        version = int(request.query["resourceVersion"])
        if self.silent:
            await asyncio.sleep(3600)
        if version < self._oldest:
            expired = {"type": "ERROR", "object": {"code": 410, "message": "too old"}}
            await response.write(json.dumps(expired).encode() + b"\n")
            return response
        end = asyncio.get_running_loop().time() + float(request.query["timeoutSeconds"])
        sent = sum(number <= version for number, _, _ in self._history)
        while (left_s := end - asyncio.get_running_loop().time()) > 0:
            for _, kind, thing in self._history[sent:]:
                sent += 1
                line = json.dumps({"type": kind, "object": thing}).encode() + b"\n"
                # In two pieces: a reader must not take a chunk for an event.
                await response.write(line[:7])
                await response.write(line[7:])
            async with self._changed:
                if sent < len(self._history):
                    continue
                try:
                    await asyncio.wait_for(self._changed.wait(), left_s)
                except TimeoutError:
                    break
        return response


def _refused(
    status: int, reason: str, headers: dict[str, str] | None = None, message: str = ""
) -> web.Response:
    said = {"kind": "Status", "status": "Failure", "reason": reason, "message": message or reason}
    return web.json_response(said, status=status, headers=headers)


@asynccontextmanager
async def serving() -> AsyncIterator[FakeApiServer]:
    """Run one on a free port of this machine."""
    server = FakeApiServer()
    async with listening(server):
        yield server


@asynccontextmanager
async def listening(server: FakeApiServer) -> AsyncIterator[None]:
    """Let a server that was made before listen on a free port of this machine."""
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", server.handle)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    server.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    try:
        yield
    finally:
        await runner.cleanup()
