"""Batches of much: they take their room, and nobody waits for them."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import grpc
import pytest
from linnet.v1 import run_pb2, spec_pb2
from linnet.v1 import training_service_pb2 as pb
from linnet_gateway.batches import pauses
from linnet_gateway.sql import migrate
from linnet_runtime.errors import InvalidInput
from linnet_runtime.rpc.status import from_rpc_error
from linnet_runtime.s3 import S3Location

from tests.fakes.batches import header, runs
from tests.fakes.faults import Faults
from tests.fakes.gateway import PARENT, Bench, a_spec
from tests.fakes.gateway_process import GatewayProcess, spawned
from tests.fakes.killable import Gateway
from tests.fakes.lasting_world import World

SCRIPT_BYTES = 250_000


def large_spec() -> spec_pb2.TrainingSpec:
    spec = a_spec(1)
    spec.architecture.script = (
        f"# {'x' * SCRIPT_BYTES}\ndef build_model(input_shape, num_classes): ..."
    )
    return spec


def of_template(batch_id: str, count: int) -> pb.CreateBatchRequest:
    template = run_pb2.Run(spec=large_spec())
    return pb.CreateBatchRequest(
        header=header(batch_id, template=template), overrides=[pb.RunOverride()] * count
    )


def peak_mb(process: GatewayProcess) -> float:
    for line in Path(f"/proc/{process.pid}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) / 1024
    raise AssertionError(process.pid)


async def fill(bench: Bench, message: pb.CreateBatchRequest) -> int:
    try:
        return [r.accepted_count async for r in bench.stub.CreateBatch(iter([message]))][-1]
    except grpc.RpcError as error:
        raise from_rpc_error(error) from error


@pytest.fixture
async def gateway(tmp_path: Path) -> AsyncIterator[Gateway]:
    world = World(tmp_path, 0)
    migrate.upgrade(world.url)
    await world.begin()
    made = Gateway(world, Faults())
    yield made
    await made.close()


async def test_a_small_message_that_makes_much_takes_little_memory(
    tmp_path: Path, s3_location: S3Location
) -> None:
    """A thousand runs with a script of 250 kB are stored and planned within 100 MB."""
    options = {"trainer_command": ("/bin/true",), "heartbeat_s": 3600.0}
    async with spawned(tmp_path, s3_location, **options) as (bench, process):
        await bench.push()
        await bench.submit("warm")
        idle = peak_mb(process)
        assert await fill(bench, of_template("one", 500)) == 500
        made = await asyncio.gather(*(fill(bench, of_template(f"b{i}", 150)) for i in range(4)))
        assert made == [150] * 4
        listed = await bench.call("ListBatches", pb.ListBatchesRequest(parent=PARENT))
        assert [batch.run_count for batch in listed.batches] == [150] * 4 + [500]
        assert peak_mb(process) - idle < 100


async def test_a_large_message_with_a_wrong_run_adds_none(gateway: Gateway) -> None:
    """Also where the runs before it would be stored in parts."""
    message = of_template("b", 40)
    message.overrides[39].predecessor = f"{PARENT}/runs/none"

    async def sent() -> AsyncIterator[pb.CreateBatchRequest]:
        yield message

    answers = gateway.filling.create(sent())
    batch, _ = await anext(answers)
    with pytest.raises(InvalidInput) as caught:
        await anext(answers)
    assert caught.value.violations[0].field == "runs[39].predecessor"
    assert (await gateway.records.batches.get_uid(batch.uid)).run_count == 0
    del message.overrides[39]
    message.header.batch_id = "another"
    assert [count async for _, count in gateway.filling.create(sent())] == [0, 39]


async def test_others_have_their_turn_while_a_batch_is_filled(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between two runs of a message whoever else waits goes on."""
    monkeypatch.setattr(pauses, "_PIECE_S", 0.0)
    turns = 0

    async def other() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    async def sent() -> AsyncIterator[pb.CreateBatchRequest]:
        yield pb.CreateBatchRequest(header=header("b"), runs=runs(300))

    task = asyncio.create_task(other())
    filling = gateway.filling.create(sent())
    assert [count async for _, count in filling] == [0, 300]
    task.cancel()
    assert turns > 300
