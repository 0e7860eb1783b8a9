"""Runs that start from another's weights say so where their scores may be too good."""

import pytest
from linnet.v1 import spec_pb2
from linnet_gateway.runs.inherited import leak_from
from linnet_gateway.states import RunState

from tests.fakes.gateway import a_spec
from tests.fakes.killable import Gateway
from tests.fakes.lasting_world import World
from tests.fakes.records import a_run


def spec_of(*, seed: int = 0, **split: object) -> bytes:
    spec = a_spec(2)
    spec.fit.seed = seed
    spec.split.CopyFrom(spec_pb2.SplitSpec(**split))  # type: ignore[arg-type]  # fields of the message
    return spec.SerializeToString()


@pytest.mark.parametrize(
    ("before", "now", "leaks"),
    [
        ({}, {}, False),
        ({}, {"seed": 1}, True),
        ({}, {"validation_share": 0.5}, True),
        ({}, {"seed": 1, "no_validation": True}, False),
        ({"method": 6}, {"method": 6, "seed": 1}, False),
        ({"method": 3, "validation_rows": [1]}, {"method": 3, "validation_rows": [2]}, True),
        ({"method": 4, "fold_count": 3}, {"method": 4, "fold_count": 3}, True),
    ],
)
def test_what_was_held_out_decides(
    before: dict[str, object], now: dict[str, object], leaks: bool
) -> None:
    """The same rows held out, or marked ones, are no leak; another draw, and each fold, are."""
    source, run = a_run("u1", spec=spec_of(**before)), a_run("u2", spec=spec_of(**now))  # type: ignore[arg-type]  # as above
    assert (leak_from(source, run) is not None) is leaks
    assert leak_from(source, a_run("u3", spec=run.spec, dataset="other")) is None


async def test_a_run_that_starts_from_other_rows_ends_with_a_warning(
    world: World, gateway: Gateway
) -> None:
    """It names the run and what to do; one of the same seed has none."""
    runs = gateway.records.runs
    await runs.create(a_run("u1", spec=spec_of()))
    await finished(world, gateway, "u1")
    for uid, seed in (("u2", 1), ("u3", 0)):
        await runs.create(a_run(uid, spec=spec_of(seed=seed), init_from="projects/demo/runs/u1"))
        await finished(world, gateway, uid)
    (warning,) = (await runs.get_uid("u2")).warnings
    assert "projects/demo/runs/u1" in warning
    assert (await runs.get_uid("u3")).warnings == ()


async def finished(world: World, gateway: Gateway, uid: str) -> None:
    """Let gateway and trainers act until a run has succeeded."""
    for _ in range(40):
        await gateway.reconciler.step()
        await world.step_trainers(gateway)
        if (await gateway.records.runs.get_uid(uid)).state is RunState.SUCCEEDED:
            return
    raise AssertionError(await gateway.records.runs.get_uid(uid))
