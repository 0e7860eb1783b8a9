"""A copy of every Job of the gateway's, kept fresh by one watch."""

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import structlog
from linnet_runtime.clock import Clock
from linnet_runtime.errors import LinnetError
from prometheus_client import CollectorRegistry, Counter, Gauge

from linnet_gateway.kubernetes import marks
from linnet_gateway.kubernetes.answers import Expired
from linnet_gateway.kubernetes.client import Api
from linnet_gateway.kubernetes.settings import KubernetesSettings

Object = Mapping[str, Any]

_KIND = "job"
_LONGEST_PAUSE_S = 30.0
_ERROR_GONE = 410
_STALE_FACTOR = 1.5


class WatchMetrics:
    """Figures of the watch."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.restarts_total = Counter(
            "linnet_watch_restarts_total",
            "Watches opened again, by why.",
            ["kind", "cause"],
            registry=registry,
        )
        self.last_event_timestamp_seconds = Gauge(
            "linnet_watch_last_event_timestamp_seconds",
            "When the watch last said anything, bookmarks included.",
            ["kind"],
            registry=registry,
        )


@dataclass(frozen=True, slots=True)
class Change:
    """A Job that changed; `job` is None once it is gone, `before` None when it is new."""

    before: Object | None
    job: Object | None


class JobWatch:
    """Keeps `jobs`, by launch uid; `run` it as a task.

    A list comes first and again every `relist_s`; between them a watch, opened anew when the
    server ends it, when it falls silent or breaks, and after a list when the server has forgotten
    the version (410). Whoever asks can therefore miss nothing for longer than `relist_s`.
    """

    def __init__(
        self,
        api: Api,
        settings: KubernetesSettings,
        metrics: WatchMetrics,
        clock: Clock,
        on_change: Callable[[Change], None],
    ) -> None:
        self.jobs: dict[str, Object] = {}
        self.path = f"/apis/batch/v1/namespaces/{settings.namespace}/jobs"
        self._selector = marks.selector(settings.instance)
        self._api = api
        self._settings = settings
        self._metrics = metrics
        self._clock = clock
        self._on_change = on_change
        self._version = ""
        self._listed_at = 0.0
        self._heard_at: float | None = None
        self._log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)

    @property
    def fresh(self) -> bool:
        """Whether `jobs` was complete within what a working watch may be silent for."""
        limit_s = self._settings.watch_silence_s * _STALE_FACTOR
        return self._heard_at is not None and self._clock.monotonic() - self._heard_at <= limit_s

    async def run(self) -> None:
        """Keep the copy fresh until cancelled, whatever the server says and whatever breaks."""
        pause_s = 1.0
        while True:
            try:
                await self._round()
                pause_s = 1.0
                continue
            except Expired:
                self._restart("expired")
                self._version = ""
                continue
            except LinnetError as error:
                self._restart("broken")
                self._log.warning("watch_broken", kind=_KIND, error=error.message)
            except Exception:  # noqa: BLE001 - without its watch the gateway sees nothing
                self._restart("failed")
                self._log.exception("watch_failed", kind=_KIND)
                # What could not be taken may come again from the same version on.
                self._version = ""
            await self._clock.sleep(pause_s * random.uniform(0.5, 1.0))  # noqa: S311
            pause_s = min(pause_s * 2, _LONGEST_PAUSE_S)

    async def list(self) -> None:
        """Read every Job now.

        What was made while the list was under way is newer than it, and stays.

        Raises:
            Unavailable: The API server can't be reached.
        """
        listing = await self._api.list(self.path, labelSelector=self._selector)
        found = {uid: job for job in listing.items if (uid := _launch_of(job))}
        listed = _number(listing.resource_version)
        for uid in self.jobs.keys() - found.keys():
            if _version(self.jobs[uid]) <= listed:
                self._forget(uid)
        for job in found.values():
            self.put(job)
        self._version = listing.resource_version
        self._listed_at = self._clock.monotonic()
        self._heard()

    def put(self, job: Object) -> None:
        """Take note of a Job as the API server gave it, unless a newer one is known."""
        uid = _launch_of(job)
        if not uid:
            return
        before = self.jobs.get(uid)
        if before is not None and _is_current(before, job):
            return
        kept = _slim(job)
        self.jobs[uid] = kept
        self._on_change(Change(before, kept))

    async def _round(self) -> None:
        age_s = self._clock.monotonic() - self._listed_at
        if not self._version or age_s >= self._settings.relist_s:
            await self.list()
            age_s = 0.0
        length_s = self._settings.watch_s * random.uniform(2 / 3, 4 / 3)  # noqa: S311
        length_s = max(1.0, min(length_s, self._settings.relist_s - age_s))
        async with self._api.stream(
            self.path,
            self._settings.watch_silence_s,
            labelSelector=self._selector,
            resourceVersion=self._version,
            allowWatchBookmarks="true",
            timeoutSeconds=str(int(length_s)),
        ) as events:
            self._heard()
            async for event in events:
                self._take(event)
        self._restart("ended")

    def _take(self, event: Object) -> None:
        self._heard()
        job = event["object"]
        if event["type"] == "ERROR":
            if job.get("code") == _ERROR_GONE:
                raise Expired(f"the watch expired: {job.get('message')}")
            raise LinnetError(f"the watch failed: {job.get('message')}")
        self._version = job["metadata"]["resourceVersion"]
        if event["type"] in {"ADDED", "MODIFIED"}:
            self.put(job)
        elif event["type"] == "DELETED":
            known = self.jobs.get(_launch_of(job))
            if known is not None and _same(known, job):
                self._forget(_launch_of(job))

    def _forget(self, uid: str) -> None:
        self._on_change(Change(self.jobs.pop(uid), None))

    def _heard(self) -> None:
        self._heard_at = self._clock.monotonic()
        self._metrics.last_event_timestamp_seconds.labels(_KIND).set(self._clock.now().timestamp())

    def _restart(self, cause: str) -> None:
        self._metrics.restarts_total.labels(_KIND, cause).inc()


def _launch_of(job: Object) -> str:
    return str((job["metadata"].get("labels") or {}).get(marks.LAUNCH, ""))


def _same(one: Object, other: Object) -> bool:
    return bool(one["metadata"]["uid"] == other["metadata"]["uid"])


def _is_current(known: Object, job: Object) -> bool:
    """Whether what is known is at least as new as a Job of the same launch."""
    comparable = _same(known, job) or _version(known) >= 0
    return comparable and _version(known) >= _version(job)


def _version(job: Object) -> int:
    return _number(job["metadata"].get("resourceVersion", ""))


def _number(version: object) -> int:
    # Opaque by the letter, a number in every server: an unreadable one counts as old.
    text = str(version)
    return int(text) if text.isdigit() else -1


_KEPT_METADATA = (
    "name",
    "uid",
    "labels",
    "annotations",
    "resourceVersion",
    "creationTimestamp",
    "deletionTimestamp",
)


def _slim(job: Object) -> Object:
    # Of thousands of Jobs only what their status is read from stays in memory.
    metadata, spec = job["metadata"], job["spec"]
    return {
        "metadata": {key: metadata[key] for key in _KEPT_METADATA if key in metadata},
        "spec": {
            "completions": spec["completions"],
            "parallelism": spec["parallelism"],
            "suspend": spec.get("suspend", False),
        },
        "status": job.get("status", {}),
    }
