"""A run's profiles for targets that its spec did not name, through a gateway."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from linnet.v1 import profile_pb2, run_pb2
from linnet.v1 import training_service_pb2 as pb
from linnet_runtime.errors import InvalidInput
from linnet_runtime.s3 import S3Location

from tests.fakes.gateway import Bench, running

VARIANTS = [run_pb2.VARIANT_FLOAT32, run_pb2.VARIANT_INT8]


@pytest.fixture
async def bench(tmp_path: Path, s3_location: S3Location) -> AsyncIterator[Bench]:
    async with running(tmp_path, s3_location) as made:
        yield made


def _mine(**fields: object) -> profile_pb2.CustomTarget:
    numbers = {"core": "cortex-m33", "clock_hz": 10**8, "ram_bytes": 2**15, "flash_bytes": 2**18}
    return profile_pb2.CustomTarget(**{"name": "mine", **numbers, **fields})


async def test_a_run_is_profiled_for_boards_ids_and_custom_targets(bench: Bench) -> None:
    """Ids, custom targets and the wish for a check reach the profiler; its checks come back."""
    await bench.push()
    run = await bench.submit("first")
    await bench.until_state(run.name, run_pb2.RUN_STATE_SUCCEEDED)
    request = pb.GetProfileRequest(
        name=run.name,
        targets=["cortex-m7-216mhz"],
        custom_targets=[_mine()],
        check_interpreter=True,
    )

    found = await bench.call("GetProfile", request)

    asked = ["cortex-m7-216mhz", "mine"]
    assert sorted({profile.target for profile in found.profiles}) == asked
    assert sorted(check.variant for check in found.checks) == VARIANTS
    assert all(check.agrees for check in found.checks)
    everywhere = await bench.call("GetProfile", pb.GetProfileRequest(name=run.name))
    assert not everywhere.checks
    assert len(everywhere.profiles) == 4


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"core": ""}, "core"),
        ({"clock_hz": 0}, "clock_hz"),
        ({"ram_bytes": -1}, "ram_bytes"),
        ({"flash_bytes": 2**41}, "flash_bytes"),
        ({"name": "My board"}, "name"),
    ],
)
async def test_a_wrong_custom_target_is_refused_by_field(
    bench: Bench, fields: dict[str, object], field: str
) -> None:
    """The contract's rules name the number before anything is read."""
    request = pb.GetProfileRequest(
        name="projects/demo/runs/any", custom_targets=[_mine(), _mine(**fields)]
    )
    with pytest.raises(InvalidInput) as caught:
        await bench.call("GetProfile", request)
    assert [one.field for one in caught.value.violations] == [f"custom_targets[1].{field}"]
