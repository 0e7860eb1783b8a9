"""A script is stored once for all runs of a batch, and every run shows it."""

from dataclasses import replace
from datetime import timedelta

import pytest
from linnet.v1 import spec_pb2
from linnet_gateway import shared_scripts, transitions
from linnet_gateway.attempts import RetryLimits, choose_next
from linnet_gateway.queries import Page, RunFilter
from linnet_gateway.quotas import Quota
from linnet_gateway.records import BatchRecord, LaunchRecord, RunRecord
from linnet_gateway.sql import schema
from linnet_gateway.sql.store import Records
from linnet_gateway.states import BatchState
from linnet_runtime.errors import QuotaExceeded
from sqlalchemy import Select, func, select

from tests.fakes.records import FAILURE, T0, a_launch, a_run

SCRIPT = "# a line of a script, not a short one\n" * 1700
KIBIBYTE = 1024


def a_spec(seed: int, script: str = SCRIPT) -> bytes:
    spec = spec_pb2.TrainingSpec(dataset="projects/demo/datasets/watch", target="t")
    spec.fit.seed = seed
    spec.architecture.script = script
    return spec.SerializeToString()


def runs_of(count: int, script: str = SCRIPT) -> list[RunRecord]:
    return [
        a_run(
            f"u{i}",
            spec=a_spec(i, script),
            expert=True,
            batch_uid="b1",
            batch_id="b",
            batch_index=i,
        )
        for i in range(count)
    ]


async def filled(
    records: Records, runs: list[RunRecord], quota: Quota | None = None, together: int = 50
) -> None:
    batch = BatchRecord("b1", "demo", "b", T0, BatchState.FILLING)
    await records.batches.create(batch)
    for first in range(0, len(runs), together):
        await records.batches.add("b1", runs[first : first + together], first, quota)
    await records.batches.change("b1", lambda b: replace(b, state=BatchState.RUNNING))


async def one(records: Records, query: Select[tuple[int]]) -> int:
    return int(await records.database.read(lambda c: c.execute(query).scalar()) or 0)


async def stored_bytes(records: Records) -> int:
    specs = await one(records, select(func.sum(func.length(schema.runs.c.spec))))
    scripts = await one(records, select(func.sum(func.length(schema.batch_scripts.c.script))))
    return specs + scripts


async def test_a_script_is_stored_once_for_its_batch(records: Records) -> None:
    """A hundred runs with a script of 63 KiB take less than two of it; the quota is told so."""
    runs = runs_of(100)
    await filled(records, runs, Quota(max_spec_bytes=200 * KIBIBYTE))
    stored = await stored_bytes(records)
    assert len(SCRIPT) < stored < 2 * len(SCRIPT)
    charged = await one(records, select(func.sum(schema.runs.c.spec_bytes)))
    assert charged == stored == await one(records, select(schema.batches.c.spec_bytes))


async def test_every_read_of_a_run_shows_its_script(records: Records) -> None:
    """By name, by uid, in lists, in order of its batch, and as trainers get it."""
    await filled(records, runs_of(3))
    await records.launches.plan([(a_launch(), [("u0", 0)])])

    def choose(
        launch: LaunchRecord, held: RunRecord | None, waiting: RunRecord | None
    ) -> tuple[list[RunRecord], RunRecord | None]:
        changed, run = choose_next(launch, held, waiting, crash=None, limits=RetryLimits(), now=T0)
        return list(changed), run

    handed = await records.trainings.hand_out("l1", 0, choose)
    assert handed is not None
    found = [
        handed,
        await records.runs.get("demo", "u0"),
        await records.runs.get_uid("u1"),
        *await records.runs.get_uids(["u2"]),
        *await records.runs.list("demo", Page(10), RunFilter()),
        *await records.batches.members("b1", -1, 10),
    ]
    assert len(found) == 10
    for run in found:
        spec = spec_pb2.TrainingSpec.FromString(run.spec)
        whole = spec_pb2.TrainingSpec.FromString(a_spec(int(run.id[1:])))
        assert spec == whole


async def test_large_scripts_are_read_few_at_a_time(records: Records) -> None:
    """What is read together is bounded by what the runs take once they have their script."""
    await filled(records, runs_of(100, SCRIPT * 2))
    assert 20 < len(await records.batches.members("b1", -1, 100)) < 50


async def test_retries_share_the_script(records: Records) -> None:
    """A failed run's retry has its script, which is not stored again."""
    await filled(records, runs_of(4))
    before = await stored_bytes(records)
    for uid in ("u1", "u2"):
        await records.runs.change(uid, lambda run: transitions.fail(run, FAILURE, T0))

    def again(run: RunRecord, place: int) -> RunRecord:
        named = {"uid": f"r{place}", "id": f"r{place}", "batch_index": place}
        return a_run(
            spec=run.spec, expert=True, batch_uid="b1", batch_id="b", retry_of=run.uid, **named
        )

    assert await records.batches.add_retries("b1", again, 10, Quota()) == 2
    assert await stored_bytes(records) - before < KIBIBYTE * 2
    spec = spec_pb2.TrainingSpec.FromString((await records.runs.get_uid("r4")).spec)
    assert (spec.architecture.script, spec.fit.seed) == (SCRIPT, 1)


async def test_scripts_go_with_their_batch(records: Records) -> None:
    """Not before the last of its runs, and no other batch's."""
    await filled(records, runs_of(2))
    other = BatchRecord("b2", "demo", "c", T0, BatchState.FILLING)
    await records.batches.create(other)
    kept = replace(runs_of(1)[0], uid="v0", id="v0", batch_uid="b2", batch_id="c")
    await records.batches.add("b2", [kept], 0)
    for uid in ("u0", "u1"):
        await records.runs.change(uid, lambda run: transitions.fail(run, FAILURE, T0))
    await records.batches.end_finished(T0)
    scripts = select(func.count()).select_from(schema.batch_scripts)
    later = T0 + timedelta(days=1)
    await records.runs.delete("u0", T0)
    assert await records.keeping.expire_batches(later, later) == 0
    assert await one(records, scripts) == 2
    await records.runs.delete("u1", T0)
    assert await records.keeping.expire_batches(later, later) == 1
    assert await one(records, scripts) == 1
    assert SCRIPT.encode() in (await records.runs.get_uid("v0")).spec


@pytest.mark.parametrize(("script", "shared"), [(SCRIPT, True), ("pass\n", False)])
def test_an_earlier_release_does_not_train_without_the_script(script: str, shared: bool) -> None:
    """What it finds in the spec is a script that says why it can't run."""
    parts = shared_scripts.parted(runs_of(1, script)[0])
    assert (parts is not None) is shared
    if parts is not None:
        pointer = spec_pb2.TrainingSpec.FromString(parts.spec).architecture.script
        with pytest.raises(RuntimeError, match="create the run again"):
            exec(pointer)


async def test_a_batch_of_different_scripts_is_charged_for_each(records: Records) -> None:
    """What is not the same is not shared."""
    runs = [replace(run, spec=a_spec(i, f"{SCRIPT}{i}")) for i, run in enumerate(runs_of(8))]
    with pytest.raises(QuotaExceeded):
        await filled(records, runs, Quota(max_batch_spec_bytes=300 * KIBIBYTE))
