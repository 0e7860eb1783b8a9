"""Two gateways on one PostgreSQL: either serves any stream, one leads, and one may go."""

from pathlib import Path

import grpc
import pytest
from linnet.v1 import run_pb2, training_service_pb2_grpc
from linnet.v1 import training_service_pb2 as pb
from linnet_gateway.assembly import Gateway
from linnet_runtime.clock import SystemClock
from linnet_runtime.s3 import S3Location, S3Store

from tests.fakes import postgres
from tests.fakes.analysts import FakeAnalysts, serving
from tests.fakes.gateway import Bench, settings_for

pytestmark = pytest.mark.skipif(
    postgres.binaries() is None, reason="no PostgreSQL server is installed"
)


async def test_either_replica_serves_what_the_other_runs(
    tmp_path: Path, s3_location: S3Location
) -> None:
    """What the leader trains the other shows; when the leader stops, the other takes over."""
    analysts = FakeAnalysts(S3Store(s3_location))
    with postgres.running_postgres() as url:
        async with serving(analysts) as address:
            folders = [tmp_path / name for name in ("one", "two")]
            for folder in folders:
                folder.mkdir()
            one, two = (
                Gateway(settings_for(folder, s3_location, address, database_url=url), SystemClock())
                for folder in folders
            )
            await one.__aenter__()
            async with two, grpc.aio.insecure_channel(two.endpoints["address"]) as channel:
                stub = training_service_pb2_grpc.TrainingServiceStub(channel)
                bench = Bench(tmp_path, stub, analysts, S3Store(s3_location), two.endpoints)
                await bench.push()
                run = await bench.submit("first", epochs=3)
                epochs, states = [], []
                async for update in stub.WatchRun(pb.WatchRunRequest(name=run.name)):
                    epochs += [epoch.number for epoch in update.epochs]
                    states += [update.run.state] if update.HasField("run") else []
                assert epochs == [1, 2, 3]
                assert states[-1] == run_pb2.RUN_STATE_SUCCEEDED
                trained = [list(f.glob("launches/*")) for f in folders]
                assert not trained[1]
                log = stub.StreamLog(pb.StreamLogRequest(name=run.name, follow=True))
                entries = [e async for response in log for e in response.entries]
                assert [e.sequence for e in entries] == list(range(1, 7))
                await one.__aexit__()
                run = await bench.submit("second", epochs=2)
                done = await bench.until_state(run.name, run_pb2.RUN_STATE_SUCCEEDED)
                assert done.attempt == 1
