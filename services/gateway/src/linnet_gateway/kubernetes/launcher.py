"""The Launcher port on Kubernetes: a launch is an Indexed Job and a Secret that it owns."""

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Any

import structlog
from linnet_runtime.clock import Clock
from linnet_runtime.errors import AlreadyExists, Internal, LinnetError, QuotaExceeded, Unavailable

from linnet_gateway.kubernetes import marks
from linnet_gateway.kubernetes.answers import ApiError
from linnet_gateway.kubernetes.changefeed import ChangeFeed
from linnet_gateway.kubernetes.client import Api
from linnet_gateway.kubernetes.inspection import Inspection
from linnet_gateway.kubernetes.jobstatus import (
    Evidence,
    deleted_failure,
    has_ended,
    is_prepared,
    is_stopping,
    read_launch,
)
from linnet_gateway.kubernetes.manifests import build_job, build_secret, parallelism
from linnet_gateway.kubernetes.settings import KubernetesSettings
from linnet_gateway.kubernetes.watch import Change, JobWatch, WatchMetrics
from linnet_gateway.launches.launcher import (
    CLUSTER_QUOTA,
    Launch,
    LaunchStatus,
    NoRoomYet,
    ShardState,
    ShardStatus,
)

Object = Mapping[str, Any]

_CONFLICT = 409
_UNAUTHORIZED = 401
_FORBIDDEN = 403
_NOT_FOUND = 404
_REMEMBER_S = 600.0
"""How long a launch whose Job is gone, not by us, is still told of."""


@dataclass(slots=True)
class _Remains:
    """A launch whose Job is gone although nobody stopped it.

    Attributes:
        status: What is told of it; not ended while pods of it live.
        gone_at: Monotonic time.
    """

    status: LaunchStatus
    gone_at: float


class KubernetesLauncher:
    """Launches as Jobs of one namespace."""

    def __init__(
        self, api: Api, settings: KubernetesSettings, metrics: WatchMetrics, clock: Clock
    ) -> None:
        self._api = api
        self._settings = settings
        self._clock = clock
        self._watch = JobWatch(api, settings, metrics, clock, self._changed)
        self._inspection = Inspection(api, settings, clock)
        self._feed = ChangeFeed()
        self._remains: dict[str, _Remains] = {}
        self._refused_since: dict[str, float] = {}
        self._pods = f"/api/v1/namespaces/{settings.namespace}/pods"
        self._secrets = f"/api/v1/namespaces/{settings.namespace}/secrets"
        self._log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)

    async def run(self) -> None:
        """Watch the namespace until cancelled; nothing works without it."""
        await self._watch.run()

    async def launch(self, launch: Launch) -> None:
        """Make the Job, the Secret that it owns, then let the Job start.

        Raises:
            NoRoomYet: A quota of the namespace has refused it for less than `quota_limit_s`.
            QuotaExceeded: It did so for longer.
        """
        manifest = build_job(launch, self._settings)
        try:
            job = await self._make_job(launch, manifest)
            if not is_prepared(job):
                await self._make_secret(launch, str(job["metadata"]["uid"]))
                job = await self._api.merge(self._job_path(launch.uid), self._start(launch))
            elif self._parallelism_differs(job, launch):
                changes = {"spec": {"parallelism": parallelism(launch, self._settings)}}
                job = await self._api.merge(self._job_path(launch.uid), changes)
        except ApiError as error:
            raise self._for_now(launch.uid, _refused(error)) from error
        self._refused_since.pop(launch.uid, None)
        self._watch.put(job)

    async def statuses(self) -> Mapping[str, LaunchStatus]:
        """Say how every launch does, from the watch's copy and, where needed, the pods."""
        if not self._watch.fresh:
            await self._watch.list()
        jobs = dict(self._watch.jobs)
        await self._inspection.look(jobs)
        self._inspection.forget_all_but(self._watch.jobs.keys())
        found = await self._remaining()
        now = self._clock.now()
        for uid, job in jobs.items():
            status = read_launch(job, self._inspection.evidence(uid), now)
            if status is not None:
                found[uid] = status
        return found

    async def stop(self, uid: str, *, keep_ended: bool = False) -> None:
        """Delete the Job of a launch with its pods, or leave one that ended to its TTL."""
        self._remains.pop(uid, None)
        self._refused_since.pop(uid, None)
        path = self._job_path(uid)
        known = self._watch.jobs.get(uid)
        release = keep_ended and known is not None and has_ended(known) and not self._crowded()
        changes: dict[str, Any] = {
            "metadata": {"annotations": {marks.STOPPING: "true"}},
            # Without time to live Kubernetes removes the Job even if the call below gets lost.
            "spec": {"ttlSecondsAfterFinished": self._settings.released_ttl_s if release else 0},
        }
        try:
            self._watch.put(await self._api.merge(path, changes))
            if not release:
                await self._api.delete(path, "Foreground")
        except ApiError as error:
            if error.status != _NOT_FOUND:
                raise _refused(error) from error

    async def end_trainer(self, uid: str, shard: int, trainer: str) -> None:
        """Kill a trainer of one shard, named by its pod's uid: the Job makes another pod."""
        try:
            for name, pod_uid in (await self._inspection.living(uid, shard)).items():
                if trainer in {"", pod_uid}:
                    # A second: none at all leaves the container to a node that may not answer.
                    await self._api.delete(f"{self._pods}/{name}", grace_s=1)
        except ApiError as error:
            raise _refused(error) from error

    async def changes(self) -> AsyncIterator[str]:
        """Give the uid of each launch whose Job changed."""
        async for uid in self._feed.listen():
            yield uid

    async def ping(self) -> None:
        """Make sure that the API server answers and lets this gateway make Jobs."""
        review = {
            "apiVersion": "authorization.k8s.io/v1",
            "kind": "SelfSubjectAccessReview",
            "spec": {
                "resourceAttributes": {
                    "namespace": self._settings.namespace,
                    "verb": "create",
                    "group": "batch",
                    "resource": "jobs",
                }
            },
        }
        try:
            answer = await self._api.create(
                "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", review
            )
        except ApiError as error:
            raise _refused(error) from error
        if not answer.get("status", {}).get("allowed"):
            raise Unavailable(
                f"the gateway may not create Jobs in namespace {self._settings.namespace!r}; give "
                "its service account the chart's Role",
                reason="KUBERNETES_FORBIDDEN",
            )

    def _for_now(self, uid: str, refusal: LinnetError) -> LinnetError:
        """Be patient with a quota: what takes its room may end."""
        if not isinstance(refusal, QuotaExceeded):
            return refusal
        now = self._clock.monotonic()
        since = self._refused_since.setdefault(uid, now)
        if now - since >= self._settings.quota_limit_s:
            return refusal
        return NoRoomYet(refusal.message)

    async def _make_job(self, launch: Launch, manifest: Object) -> Object:
        try:
            return await self._api.create(self._watch.path, manifest)
        except ApiError as error:
            if error.status != _CONFLICT:
                raise
        job = await self._api.get(self._job_path(launch.uid))
        found = job["metadata"].get("annotations", {}).get(marks.SPEC_DIGEST)
        if found != launch.spec_digest:
            raise AlreadyExists(
                f"launch {launch.uid}: the Job {marks.job_name(launch.uid)} exists with digest "
                f"{found}, expected {launch.spec_digest}",
                reason="LAUNCH_DIGEST_DIFFERS",
            )
        if job["metadata"].get("deletionTimestamp"):
            raise Unavailable(f"launch {launch.uid}: its Job is being deleted")
        return job

    async def _make_secret(self, launch: Launch, job_uid: str) -> None:
        secret = build_secret(launch, job_uid, self._settings)
        try:
            await self._api.create(self._secrets, secret)
        except ApiError as error:
            if error.status != _CONFLICT:
                raise
            # Left by a gateway that died here, with a token that nobody knows any more.
            await self._api.delete(f"{self._secrets}/{secret['metadata']['name']}")
            await self._api.create(self._secrets, secret)

    def _start(self, launch: Launch) -> Object:
        changes: dict[str, Any] = {"metadata": {"annotations": {marks.PREPARED: "true"}}}
        if not self._settings.queue_name:
            # Kueue resumes the Jobs of its queues itself.
            changes["spec"] = {
                "suspend": False,
                "parallelism": parallelism(launch, self._settings),
            }
        return changes

    def _parallelism_differs(self, job: Object, launch: Launch) -> bool:
        if self._settings.queue_name or has_ended(job):
            return False
        return bool(job["spec"]["parallelism"] != parallelism(launch, self._settings))

    async def _remaining(self) -> dict[str, LaunchStatus]:
        found: dict[str, LaunchStatus] = {}
        for uid, remains in list(self._remains.items()):
            if self._clock.monotonic() - remains.gone_at > _REMEMBER_S:
                del self._remains[uid]
                continue
            if not remains.status.ended and not await self._inspection.pods_left(uid):
                remains.status = LaunchStatus(
                    uid, ended=True, shards=remains.status.shards, failure=remains.status.failure
                )
            found[uid] = remains.status
        return found

    def _changed(self, change: Change) -> None:
        job = change.job or change.before
        assert job is not None
        uid = str(job["metadata"]["labels"][marks.LAUNCH])
        if change.job is None:
            self._gone(uid, job)
        self._feed.tell(uid)

    def _gone(self, uid: str, job: Object) -> None:
        evidence = self._inspection.evidence(uid)
        self._inspection.forget(uid)
        if not is_stopping(job):
            status = self._last_status(uid, job, evidence)
            self._remains[uid] = _Remains(status, self._clock.monotonic())

    def _last_status(self, uid: str, job: Object, evidence: Evidence) -> LaunchStatus:
        status = read_launch(job, evidence, self._clock.now())
        if status is not None and status.ended:
            return status
        self._log.warning("launch_deleted", launch=uid)
        failure = deleted_failure()
        known = {shard.index: shard for shard in status.shards} if status is not None else {}
        shards = tuple(
            known[index]
            if index in known and known[index].state in {ShardState.SUCCEEDED, ShardState.FAILED}
            else ShardStatus(index, ShardState.FAILED, failure)
            for index in range(job["spec"]["completions"])
        )
        return LaunchStatus(uid, ended=False, shards=shards, failure=failure)

    def _crowded(self) -> bool:
        ended = (job["status"] for job in self._watch.jobs.values() if has_ended(job))
        pods = sum(int(s.get("succeeded") or 0) + int(s.get("failed") or 0) for s in ended)
        return pods > self._settings.terminated_pods_max

    def _job_path(self, uid: str) -> str:
        return f"{self._watch.path}/{marks.job_name(uid)}"


def _refused(error: ApiError) -> LinnetError:
    """Say what a refusal of the API server means for a launch."""
    if error.status == _FORBIDDEN and "exceeded quota" in error.said:
        return QuotaExceeded(
            f"a quota of the runs namespace refuses the launch: {error.said}",
            reason=CLUSTER_QUOTA,
        )
    if error.status in {_NOT_FOUND, _CONFLICT}:
        return Unavailable(f"the launch's Job changed under the gateway: {error.said}")
    if error.status in {_UNAUTHORIZED, _FORBIDDEN}:
        return Unavailable(
            f"the gateway lacks a right in the cluster: {error.said}",
            reason="KUBERNETES_FORBIDDEN",
            retry_after_s=30.0,
        )
    return Internal(f"Kubernetes refuses the launch: {error.said}", reason="LAUNCH_REFUSED")
