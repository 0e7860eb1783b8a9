"""Runs: created from a checked spec, read, listed, cancelled and deleted."""

from datetime import timedelta
from hashlib import sha256

from linnet.v1 import run_pb2
from linnet_runtime.clock import Clock
from linnet_runtime.errors import InvalidInput, NotFound
from linnet_runtime.ids import ResourceName, new_id, parse_name

from linnet_gateway import transitions
from linnet_gateway.converters import etag as etag_of
from linnet_gateway.datasets.lifecycle import check_etag
from linnet_gateway.ports import Runs
from linnet_gateway.queries import Found, Page, RunFilter
from linnet_gateway.quotas import Held, Quota, Quotas
from linnet_gateway.records import RunRecord
from linnet_gateway.specs.resolution import Resolved, SpecResolution
from linnet_gateway.states import RunState
from linnet_gateway.uids import new_uid


class RunRequests:
    """The use cases of runs."""

    def __init__(
        self, runs: Runs, specs: SpecResolution, clock: Clock, quotas: Quotas | None = None
    ) -> None:
        """Make the use cases.

        Args:
            runs: Records.
            specs: Checks specs.
            clock: Time.
            quotas: What the runs of each project may be together.
        """
        self._runs = runs
        self._specs = specs
        self._clock = clock
        self._quotas = quotas or Quotas()

    async def create(
        self,
        project: str,
        run_id: str,
        run: run_pb2.Run,
        request_id: str,
        *,
        validate_only: bool = False,
    ) -> RunRecord:
        """Create a run, or give the one that the same request made before.

        Raises:
            InvalidInput: Names every wrong field; nothing is stored.
            AlreadyExists: The id is taken, or the request id by another run.
        """
        if request_id and not validate_only:
            # Before anything that may have changed since: what was made is not refused afterwards.
            digest = request_digest(run_id, run)
            known = await self._runs.requested(project, request_id, digest)
            if known is not None:
                return known
        resolved = await self._specs.resolve(project, run.spec, "run.spec")
        await self.check_predecessor(project, run.predecessor, "run.predecessor")
        record = self.record(project, run_id, run, resolved, request_id=request_id)
        if validate_only:
            return record
        return await self._runs.create(record, self.quota_of(project))

    def quota_of(self, project: str) -> Quota:
        """Give the limits of a project."""
        return self._quotas.of(project)

    async def check_room(self, project: str, runs: int, spec_bytes: int) -> None:
        """Refuse runs that a project has no room for; raises `QuotaExceeded`."""
        await self._runs.check_room(project, Held(runs, spec_bytes), self.quota_of(project))

    async def check_predecessor(self, project: str, name: str, field: str) -> RunRecord | None:
        """Read the run that a new one retrains; raises `InvalidInput` if there is none."""
        if not name:
            return None
        parsed = parse_name(name, "runs", field=field)
        try:
            found = await self._runs.get(project, parsed.id)
        except NotFound:
            found = None
        if found is None or parsed.project != project:
            raise InvalidInput.of(
                field, f"expected a run of project {project!r}, received {name!r}"
            )
        return found

    def record(
        self,
        project: str,
        run_id: str,
        run: run_pb2.Run,
        resolved: Resolved,
        *,
        request_id: str = "",
        digest: str = "",
    ) -> RunRecord:
        """Make the record of a new run; `digest` is that of what was sent, if it is known."""
        now = self._clock.now()
        resources = resolved.spec.resources
        return RunRecord(
            uid=new_uid(),
            project=project,
            id=run_id or new_id("run"),
            create_time=now,
            update_time=now,
            spec=resolved.message.SerializeToString(deterministic=True),
            spec_digest=digest or request_digest(run_id, run),
            dataset=resolved.dataset.id,
            target=resolved.spec.target,
            display_name=run.display_name,
            labels=dict(run.labels),
            predecessor=run.predecessor,
            init_from=resolved.message.init_from,
            request_id=request_id or None,
            warnings=resolved.warnings,
            cpu_millis=resources.cpu_millis,
            memory_limit_bytes=resources.memory_bytes,
            deadline=resources.deadline or timedelta(hours=24),
            expert=resolved.expert,
        )

    async def get(self, name: ResourceName) -> RunRecord:
        """Read one; raises `NotFound`."""
        return await self._runs.get(name.project, name.id)

    async def list(self, project: str, page: Page, which: RunFilter) -> Found[RunRecord]:
        """List a page, newest first; looking for rare ones may end before the page is full."""
        return await self._runs.list(project, page, which)

    async def cancel(self, name: ResourceName, etag: str) -> RunRecord:
        """Cancel a run; one that is cancelled already is answered as the first time.

        Raises:
            NotAllowedInState: It succeeded or failed.
            Conflict: It has another etag.
        """
        run = await self._runs.get(name.project, name.id)
        now = self._clock.now()

        def decide(current: RunRecord) -> RunRecord:
            if current.state is not RunState.CANCELLED:
                check_etag(etag, etag_of(current.uid, current.version), current.name)
            return transitions.ask_to_cancel(current, now)

        return await self._runs.change(run.uid, decide)

    async def delete(self, name: ResourceName, etag: str) -> None:
        """Delete a terminal run and doom its artifacts.

        Raises:
            NotAllowedInState: It is not terminal, or a run that is live needs it.
            Conflict: It has another etag.
        """
        run = await self._runs.get(name.project, name.id)
        check_etag(etag, etag_of(run.uid, run.version), run.name)
        await self._runs.delete(run.uid, self._clock.now())


def request_digest(run_id: str, run: run_pb2.Run) -> str:
    """Digest what a caller sent, output fields left out."""
    sent = run_pb2.Run(
        display_name=run.display_name,
        labels=run.labels,
        spec=run.spec,
        predecessor=run.predecessor,
    )
    return sha256(run_id.encode() + b"\0" + sent.SerializeToString(deterministic=True)).hexdigest()
