"""A run's way through a gateway: real SQL, S3 and gRPC; trainer processes without TensorFlow."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from linnet.v1 import run_pb2
from linnet.v1 import training_service_pb2 as pb
from linnet_runtime.s3 import S3Location

from tests.fakes.gateway import Bench, running


@pytest.fixture
async def bench(tmp_path: Path, s3_location: S3Location) -> AsyncIterator[Bench]:
    async with running(tmp_path, s3_location) as made:
        yield made


async def test_a_run_is_trained_analyzed_and_reported(bench: Bench) -> None:
    """From a pushed dataset to a report with scores of both variants and every epoch."""
    await bench.push()
    run = await bench.submit("first", epochs=4)
    assert run.state == run_pb2.RUN_STATE_QUEUED
    done = await bench.until_state(run.name, run_pb2.RUN_STATE_SUCCEEDED, run_pb2.RUN_STATE_FAILED)
    assert done.state == run_pb2.RUN_STATE_SUCCEEDED, done
    assert [s.state for s in done.stages] == [run_pb2.STAGE_STATE_SUCCEEDED] * 3
    assert {v.variant: v.test_accuracy for v in done.summary.variants} == {
        run_pb2.VARIANT_FLOAT32: 0.9,
        run_pb2.VARIANT_INT8: 0.9,
    }
    report = await bench.call("GetReport", pb.GetReportRequest(name=run.name))
    assert [e.number for e in report.epochs] == [1, 2, 3, 4]
    assert len(report.evaluation.sets) == 4
    assert len(report.profiles) == 2
