"""Reads pods, their logs and events, but only of Jobs that give a reason to."""

import asyncio
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

import structlog
from linnet_runtime.clock import Clock
from linnet_runtime.errors import LinnetError

from linnet_gateway.kubernetes import marks
from linnet_gateway.kubernetes.answers import ApiError
from linnet_gateway.kubernetes.client import Api
from linnet_gateway.kubernetes.evidence import (
    LOOK_AGAIN_S,
    Need,
    age_key,
    need_of,
    shard_index,
    weigh_pods,
)
from linnet_gateway.kubernetes.jobstatus import Evidence, is_stopping
from linnet_gateway.kubernetes.obstacles import Patience
from linnet_gateway.kubernetes.settings import KubernetesSettings
from linnet_gateway.kubernetes.terminations import log_lines, pod_failure

Object = Mapping[str, Any]

_ONE_BY_ONE = 8
"""More Jobs than this are looked at by one list of all pods."""
_LOGS_AT_ONCE = 32
"""Logs read at one look, at most; what a pod's end message says stays for the others."""
_LOG_LINES = "50"
_LOG_BYTES = "65536"


@dataclass(slots=True)
class _Known:
    failures_key: tuple[object, ...] = ()
    looked_at: float = 0.0
    evidence: Evidence = field(default_factory=Evidence)
    tails: dict[str, tuple[str, ...]] = field(default_factory=dict)


class Inspection:
    """What is known of each launch beside its Job."""

    def __init__(self, api: Api, settings: KubernetesSettings, clock: Clock) -> None:
        self._api = api
        self._selector = marks.selector(settings.instance)
        self._patience = Patience.of(settings)
        self._clock = clock
        self._core = f"/api/v1/namespaces/{settings.namespace}"
        self._known: dict[str, _Known] = {}
        self._last_pod_at: dict[str, datetime] = {}
        self._log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)

    def evidence(self, uid: str) -> Evidence:
        """Give what the last look at a launch told."""
        known = self._known.get(uid)
        return known.evidence if known is not None else Evidence()

    def forget(self, uid: str) -> None:
        """Drop what is known of a launch."""
        self._known.pop(uid, None)
        self._last_pod_at.pop(uid, None)

    def forget_all_but(self, uids: Collection[str]) -> None:
        """Drop what was learned of launches that went while they were looked at."""
        for uid in self._known.keys() - uids:
            del self._known[uid]
        for uid in self._last_pod_at.keys() - uids:
            del self._last_pod_at[uid]

    async def look(self, jobs: Mapping[str, Object]) -> None:
        """Read the pods of each Job, by launch uid, that something is to be learned from.

        A Job whose pods can't be understood keeps what was known of it, and stops no other.

        Raises:
            Unavailable: The API server can't be reached.
        """
        needs = {uid: need for uid, job in jobs.items() if (need := self._need(uid, job))}
        if not needs:
            return
        for uid, pods in (await self._pods(list(needs))).items():
            try:
                await self._weigh(uid, jobs[uid], needs[uid], pods)
            except LinnetError:
                raise
            except Exception:  # noqa: BLE001 - pods say what their users make them say
                self._log.exception("pods_not_understood", launch=uid)
            known = self._known.setdefault(uid, _Known())
            known.failures_key = needs[uid].failures
            known.looked_at = self._clock.monotonic()

    async def pods_left(self, uid: str) -> bool:
        """Say whether any pod of a launch has not ended yet."""
        pods = (await self._pods([uid]))[uid]
        return any(
            pod.get("status", {}).get("phase") not in {"Succeeded", "Failed"} for pod in pods
        )

    async def living(self, uid: str, shard: int) -> dict[str, str]:
        """Give the pods of a shard that have not ended and are not about to: uids by name."""
        pods = (await self._pods([uid]))[uid]
        return {
            str(pod["metadata"]["name"]): str(pod["metadata"]["uid"])
            for pod in pods
            if shard_index(pod) == shard
            and pod.get("status", {}).get("phase") not in {"Succeeded", "Failed"}
            and not pod["metadata"].get("deletionTimestamp")
        }

    def _need(self, uid: str, job: Object) -> Need | None:
        if is_stopping(job):
            return None
        now = self._clock.now()
        if int(job.get("status", {}).get("active") or 0):
            self._last_pod_at[uid] = now
        need = need_of(job, now, self._last_pod_at.get(uid))
        known = self._known.get(uid)
        if known is None:
            return need if need.failures or need.waiting or need.starved else None
        if need.failures != known.failures_key:
            return need
        # One more look after the waiting is over clears the obstacle.
        slow = need.waiting or need.starved or known.evidence.obstacle is not None
        old = self._clock.monotonic() - known.looked_at >= LOOK_AGAIN_S
        return need if slow and old else None

    async def _pods(self, uids: list[str]) -> dict[str, list[Object]]:
        path = f"{self._core}/pods"
        if len(uids) <= _ONE_BY_ONE:
            listings = await asyncio.gather(
                *(
                    self._api.list(path, labelSelector=f"{self._selector},{marks.LAUNCH}={uid}")
                    for uid in uids
                )
            )
            return {uid: list(one.items) for uid, one in zip(uids, listings, strict=True)}
        found: dict[str, list[Object]] = {uid: [] for uid in uids}
        for pod in (await self._api.list(path, labelSelector=self._selector)).items:
            uid = pod["metadata"]["labels"].get(marks.LAUNCH)
            if uid in found:
                found[uid].append(pod)
        return found

    async def _weigh(self, uid: str, job: Object, need: Need, pods: list[Object]) -> None:
        events: list[Object] = []
        if need.starved:
            events = await self._events(str(job["metadata"]["uid"]))
        known = self._known.setdefault(uid, _Known())
        evidence = weigh_pods(
            pods,
            events,
            need=need,
            patience=self._patience,
            now=self._clock.now(),
            earlier=known.evidence,
        )
        known.evidence = await self._with_logs(known, evidence, pods)

    async def _events(self, job_uid: str) -> list[Object]:
        about = f"involvedObject.kind=Job,involvedObject.uid={job_uid}"
        try:
            return list((await self._api.list(f"{self._core}/events", fieldSelector=about)).items)
        except ApiError as error:
            # Events only explain: a role without them costs the explanation.
            self._log.warning("events_not_read", error=error.message)
            return []

    async def _with_logs(self, known: _Known, evidence: Evidence, pods: list[Object]) -> Evidence:
        newest: dict[int, Object] = {}
        for pod in sorted(pods, key=age_key):
            index = shard_index(pod)
            if index is not None and pod_failure(pod) is not None:
                newest[index] = pod
        uids = {index: str(pod["metadata"]["uid"]) for index, pod in newest.items()}
        unread = [index for index, uid in uids.items() if uid not in known.tails][:_LOGS_AT_ONCE]
        tails = await asyncio.gather(*(self._log_tail(newest[index]) for index in unread))
        known.tails |= {uids[index]: tail for index, tail in zip(unread, tails, strict=True)}
        known.tails = {uid: known.tails[uid] for uid in uids.values() if uid in known.tails}
        failures, ended = dict(evidence.failures), dict(evidence.ended)
        for index, uid in uids.items():
            tail = known.tails.get(uid)
            if tail:
                failures[index] = replace(failures[index], log_tail=tail)
                end = replace(ended[index][uid], log_tail=tail)
                ended[index] = {**ended[index], uid: end}
        return replace(evidence, failures=failures, ended=ended)

    async def _log_tail(self, pod: Object) -> tuple[str, ...]:
        path = f"{self._core}/pods/{pod['metadata']['name']}/log"
        try:
            text = await self._api.text(
                path, container=marks.TRAINER, tailLines=_LOG_LINES, limitBytes=_LOG_BYTES
            )
        except LinnetError:
            # The pod never ran, or it is gone: its end message has to do.
            return ()
        return log_lines(text)
