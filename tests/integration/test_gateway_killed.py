"""A gateway that is killed while runs are trained loses none of them and doubles none."""

import os
import signal
from pathlib import Path

import pytest
from linnet.v1 import run_pb2
from linnet.v1 import training_service_pb2 as pb
from linnet_runtime.s3 import S3Location

from tests.fakes.gateway import until
from tests.fakes.gateway_process import spawned

ENDS = (run_pb2.RUN_STATE_SUCCEEDED, run_pb2.RUN_STATE_FAILED, run_pb2.RUN_STATE_CANCELLED)


def trainings(folder: Path) -> list[str]:
    """Give run and attempt of every training that began, over all launches there ever were."""
    return (folder / "trainings").read_text().splitlines()


def trainer_pids(folder: Path) -> list[int]:
    """Give the process groups of all trainers."""
    return [int(path.read_text()) for path in folder.glob("launches/*/*/pid")]


@pytest.mark.slow
async def test_a_killed_gateway_takes_its_trainers_up_again(
    tmp_path: Path, s3_location: S3Location
) -> None:
    """The trainer works on, finds the new gateway, and the run succeeds in its first attempt."""
    async with spawned(tmp_path, s3_location) as (bench, process):
        await bench.push()
        bench.control(hold=3)
        run = await bench.submit("held", epochs=5)
        await bench.until_state(run.name, run_pb2.RUN_STATE_TRAINING)

        async def at_hold() -> bool:
            return (await bench.get(run.name)).progress.epoch == 2

        await until(at_hold)
        await process.kill()
        bench.control()
        began = trainings(tmp_path)
        await process.start()
        done = await bench.until_state(run.name, *ENDS)
        assert done.state == run_pb2.RUN_STATE_SUCCEEDED, done
        assert done.attempt == 1
        assert began == [f"{run.name} 1"]
        responses = bench.stub.StreamLog(pb.StreamLogRequest(name=run.name, follow=True))
        entries = [e async for response in responses for e in response.entries]
        assert [e.sequence for e in entries] == list(range(1, 11))


@pytest.mark.slow
async def test_gateway_and_trainer_killed_together_train_the_run_again(
    tmp_path: Path, s3_location: S3Location
) -> None:
    """When both die the new gateway notices that nobody trains and begins a second attempt."""
    async with spawned(tmp_path, s3_location) as (bench, process):
        await bench.push()
        bench.control(hold=3)
        run = await bench.submit("both", epochs=4)
        await bench.until_state(run.name, run_pb2.RUN_STATE_TRAINING)
        await process.kill()
        for pid in trainer_pids(tmp_path):
            os.killpg(pid, signal.SIGKILL)
        bench.control()
        await process.start()
        done = await bench.until_state(run.name, *ENDS)
        assert done.state == run_pb2.RUN_STATE_SUCCEEDED, done
        assert done.attempt == 2


@pytest.mark.slow
async def test_a_gateway_killed_again_and_again_ends_every_run_once(
    tmp_path: Path, s3_location: S3Location
) -> None:
    """Runs that are accepted between kills all end; each has exactly one end and a gapless log."""
    async with spawned(tmp_path, s3_location) as (bench, process):
        await bench.push()
        bench.control(epoch_s=0.3)
        names = []
        for index in range(4):
            names.append((await bench.submit(f"run-{index}", epochs=4)).name)
            await process.kill()
            await process.start()
        for name in names:
            done = await bench.until_state(name, *ENDS, seconds=60)
            assert done.state == run_pb2.RUN_STATE_SUCCEEDED, done
        began = trainings(tmp_path)
        assert len(began) == len(set(began))
        assert {training.split()[0] for training in began} == set(names)
        report = await bench.call("GetReport", pb.GetReportRequest(name=names[0]))
        assert [e.number for e in report.epochs] == [1, 2, 3, 4]
