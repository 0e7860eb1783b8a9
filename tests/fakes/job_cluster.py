"""A cluster in which Jobs have pods, over the small API server: what Kubernetes' controllers do.

Pods run nothing: `finish` says how a trainer ended. What controllers do, they do at a `tick`: Jobs
that are started get pods, and what was deleted in the foreground, or has outlived its time, goes
with its pods and its Secret.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from itertools import count
from typing import Any

from aiohttp import web
from linnet_gateway.kubernetes import marks
from linnet_gateway.kubernetes.jobstatus import has_ended, indexes
from linnet_gateway.launches.launcher import ShardState, ShardStatus
from linnet_runtime.clock import Clock
from linnet_runtime.lifecycle import ExitCode

from tests.fakes.apiserver import FakeApiServer, Object


class JobCluster(FakeApiServer):
    """State, and what changes it beside calls."""

    def __init__(self, clock: Clock) -> None:
        super().__init__()
        self._clock = clock
        self._numbers = count(1)
        self._crashes: dict[tuple[str, int], int] = {}

    @property
    def down(self) -> bool:
        """Whether it answers every call with 429."""
        return self.busy > 0

    @down.setter
    def down(self, down: bool) -> None:
        self.busy = 1_000_000 if down else 0

    @property
    def shards(self) -> dict[str, list[ShardStatus]]:
        """The shards that run, by launch, of each Job that has not ended."""
        found: dict[str, list[ShardStatus]] = {
            _launch(job): [] for job in self.of("jobs") if not has_ended(job)
        }
        for pod in self.of("pods"):
            if pod["status"]["phase"] == "Running":
                status = ShardStatus(_index(pod), ShardState.RUNNING)
                found.setdefault(_launch(pod), []).append(status)
        return found

    def of(self, kind: str) -> list[Object]:
        """Every object of a kind, such as `jobs`."""
        return [one for path, one in self._objects.items() if path.startswith(f"/{kind}/")]

    def token(self, uid: str) -> str:
        """What the pods of a launch find in its Secret."""
        return str(self._objects[f"/secrets/{marks.job_name(uid)}"]["stringData"]["token"])

    def pod_of(self, uid: str, index: int) -> str:
        """Name of the pod that runs a shard; empty without one."""
        for pod in self.of("pods"):
            if (_launch(pod), _index(pod)) == (uid, index) and pod["status"]["phase"] == "Running":
                return str(pod["metadata"]["name"])
        return ""

    def uid_of(self, uid: str, index: int) -> str:
        """Uid of the pod that runs a shard, which is its trainer's name."""
        return str(self._objects[f"/pods/{self.pod_of(uid, index)}"]["metadata"]["uid"])

    async def tick(self) -> None:
        """Let the controllers do what there is to do."""
        for job in self.of("jobs"):
            if job["metadata"].get("deletionTimestamp") or self._outlived(job):
                await self._collect(job)
            elif not job["spec"]["suspend"] and not has_ended(job):
                await self._start(job)
        owners = {job["metadata"]["uid"] for job in self.of("jobs")}
        for secret in self.of("secrets"):
            (owner,) = secret["metadata"]["ownerReferences"]
            if owner["uid"] not in owners:
                await self.remove(f"/secrets/{secret['metadata']['name']}")

    async def finish(self, uid: str, index: int, exit_code: int) -> None:
        """End the trainer of a shard that runs."""
        path = f"/pods/{self.pod_of(uid, index)}"
        pod = self._objects[path]
        reason = "OOMKilled" if exit_code == ExitCode.OUT_OF_MEMORY else "Error"
        ended = {"exitCode": exit_code, "reason": reason, "message": ""}
        pod["status"] = {
            "phase": "Failed" if exit_code else "Succeeded",
            "containerStatuses": [{"name": marks.TRAINER, "state": {"terminated": ended}}],
        }
        await self.put(path, pod)
        job = self._objects[f"/jobs/{marks.job_name(uid)}"]
        await self._count(job, index, exit_code)

    async def _answer(self, request: web.Request, path: str) -> web.Response:
        if not self.busy and path in self._objects and request.method == "PATCH":
            changed = _merged(self._objects[path], await request.json())
            return web.json_response(await self.put(path, changed))
        if not self.busy and request.method == "GET" and "labelSelector" in request.query:
            wanted = [part.split("=") for part in request.query["labelSelector"].split(",")]
            items = [
                one
                for one in self.of(path.strip("/"))
                if all(one["metadata"]["labels"].get(key) == value for key, value in wanted)
            ]
            return web.json_response(
                {"metadata": {"resourceVersion": str(self._version)}, "items": items}
            )
        return await super()._answer(request, path)

    async def _create(self, folder: str, thing: Object) -> web.Response:
        thing["metadata"]["creationTimestamp"] = self._now()
        if folder == "/jobs":
            thing["status"] = {}
        return await super()._create(folder, thing)

    async def _delete(self, path: str, known: Object) -> None:
        if not path.startswith("/jobs/"):
            await super()._delete(path, known)
        elif not known["metadata"].get("deletionTimestamp"):
            # In the foreground: its pods go first, and they have a grace time.
            known["metadata"]["deletionTimestamp"] = self._now()
            await self.put(path, known)

    async def _start(self, job: Object) -> None:
        name, status = job["metadata"]["name"], job["status"]
        secret = self._objects.get(f"/secrets/{name}")
        assert secret is not None, f"the pods of {name} would wait for their token"
        assert secret["metadata"]["ownerReferences"][0]["uid"] == job["metadata"]["uid"]
        done = indexes(status.get("completedIndexes")) | indexes(status.get("failedIndexes"))
        running = {shard.index for shard in self.shards[_launch(job)]}
        for index in range(job["spec"]["completions"]):
            if len(running) < job["spec"]["parallelism"] and index not in running | done:
                await self._run(job, index)
                running.add(index)
        started = {"startTime": status.get("startTime") or self._now()}
        alive = {"active": len(running), "ready": len(running)}
        await self._tell_status(job, started | alive)

    async def _run(self, job: Object, index: int) -> None:
        name = f"{job['metadata']['name']}-{index}-{next(self._numbers)}"
        labels = job["spec"]["template"]["metadata"]["labels"]
        metadata = {
            "name": name,
            "labels": labels | {marks.COMPLETION_INDEX: str(index)},
            "creationTimestamp": self._now(),
        }
        status = {"phase": "Running", "containerStatuses": []}
        spec = job["spec"]["template"]["spec"]
        await self.put(f"/pods/{name}", {"metadata": metadata, "spec": spec, "status": status})

    async def _count(self, job: Object, index: int, exit_code: int) -> None:
        status, spec = job["status"], job["spec"]
        done = set(indexes(status.get("completedIndexes")))
        lost = set(indexes(status.get("failedIndexes")))
        crashes = 0
        if exit_code == 0:
            done.add(index)
        else:
            key = (job["metadata"]["uid"], index)
            crashes = self._crashes[key] = self._crashes.get(key, 0) + 1
            rules = spec["podFailurePolicy"]["rules"]
            final = [rule["onExitCodes"]["values"] for rule in rules if "onExitCodes" in rule]
            if crashes > spec["backoffLimitPerIndex"] or any(exit_code in one for one in final):
                lost.add(index)
        changes: dict[str, Any] = {
            "succeeded": len(done),
            "failed": int(status.get("failed") or 0) + bool(exit_code),
            "completedIndexes": ",".join(map(str, sorted(done))),
            "failedIndexes": ",".join(map(str, sorted(lost))),
            "active": len(self.shards[_launch(job)]),
            "ready": len(self.shards[_launch(job)]),
        }
        if len(done | lost) == spec["completions"]:
            kind = {"type": "Failed", "reason": "FailedIndexes"} if lost else {"type": "Complete"}
            since = {"status": "True", "lastTransitionTime": self._now()}
            changes["conditions"] = [kind | since]
        await self._tell_status(job, changes)

    async def _tell_status(self, job: Object, changes: Object) -> None:
        if changes.items() <= job["status"].items():
            return
        path = f"/jobs/{job['metadata']['name']}"
        await self.put(path, job | {"status": job["status"] | changes})

    def _outlived(self, job: Object) -> bool:
        if not has_ended(job):
            return False
        (condition,) = job["status"]["conditions"]
        since = datetime.fromisoformat(condition["lastTransitionTime"])
        life = timedelta(seconds=job["spec"]["ttlSecondsAfterFinished"])
        return self._clock.now() >= since + life

    async def _collect(self, job: Object) -> None:
        for pod in self.of("pods"):
            if _launch(pod) == _launch(job):
                await self.remove(f"/pods/{pod['metadata']['name']}")
        await self.remove(f"/jobs/{job['metadata']['name']}")

    def _now(self) -> str:
        return self._clock.now().isoformat()


def _launch(thing: Object) -> str:
    return str(thing["metadata"]["labels"][marks.LAUNCH])


def _index(pod: Object) -> int:
    return int(pod["metadata"]["labels"][marks.COMPLETION_INDEX])


def _merged(thing: Object, changes: Object) -> Object:
    """Apply a JSON merge patch."""
    found = dict(thing)
    for key, value in changes.items():
        if value is None:
            found.pop(key, None)
        elif isinstance(value, dict):
            found[key] = _merged(found.get(key) or {}, value)
        else:
            found[key] = value
    return found
