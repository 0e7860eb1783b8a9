"""Calls of a trainer to a gateway that does not answer."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import grpc
import pytest
from linnet.v1 import dataset_pb2, runner_service_pb2, runner_service_pb2_grpc
from linnet_runtime.errors import Unavailable
from linnet_runtime.lifecycle import ExitCode
from linnet_trainer.runner.grpc_runner import Gateway, GrpcRunner
from linnet_trainer.settings import TrainerSettings
from linnet_trainer.shard_process import _work


class SilentGateway(runner_service_pb2_grpc.RunnerServiceServicer):
    """Leaves the first calls without an answer, then gives addresses."""

    def __init__(self, silent: int) -> None:
        self.silent = silent
        self.calls = 0
        self.asked: list[tuple[int, str]] = []
        self.stopped = threading.Event()

    def AcquireAssignment(self, request, context):  # noqa: N802 - the name of the contract
        """Have nothing to do, and remember who asked."""
        self.asked.append((request.shard, request.trainer))
        return runner_service_pb2.AcquireAssignmentResponse()

    def CreateUploads(self, request, context):  # noqa: N802 - the name of the contract
        """Answer, or wait until the test is over."""
        self.calls += 1
        if self.calls <= self.silent:
            self.stopped.wait(60)
        uploads = [dataset_pb2.PresignedRequest(url=f"http://{f.name}") for f in request.files]
        return runner_service_pb2.CreateUploadsResponse(uploads=uploads)


@pytest.fixture
def silent(request) -> Iterator[tuple[SilentGateway, str]]:
    """A gateway on a real port that is silent for `request.param` calls."""
    gateway = SilentGateway(request.param)
    server = grpc.server(ThreadPoolExecutor(16))
    runner_service_pb2_grpc.add_RunnerServiceServicer_to_server(gateway, server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        yield gateway, f"127.0.0.1:{port}"
    finally:
        gateway.stopped.set()
        server.stop(0).wait()


@pytest.mark.parametrize("silent", [2], indirect=True)
def test_a_call_without_an_answer_is_made_again(silent):
    """Calls that meet their deadline are tried again, as those to a gateway that is away."""
    gateway, address = silent
    runner = GrpcRunner(Gateway(address, "token", call_timeout_s=0.5))

    uploads = runner.create_uploads("token", [dataset_pb2.StoredFile(name="a")])
    runner.close()

    assert [upload.url for upload in uploads] == ["http://a"]
    assert gateway.calls == 3


@pytest.mark.parametrize("silent", [1000], indirect=True)
def test_a_gateway_that_never_answers_counts_as_away(silent):
    """When patience ends the gateway is unavailable, which is not taken for the run's fault."""
    _, address = silent
    runner = GrpcRunner(Gateway(address, "token", call_timeout_s=0.3, patience_s=1.0))

    with pytest.raises(Unavailable, match="did not answer in time"):
        runner.create_uploads("token", [dataset_pb2.StoredFile(name="a")])
    runner.close()


@pytest.mark.parametrize("silent", [0], indirect=True)
@pytest.mark.parametrize("given", ["pod-uid", ""])
def test_a_trainer_says_which_process_it_is(silent, given, tmp_path):
    """By the name that its launcher gave it, or one that no other process has."""
    gateway, address = silent
    settings = TrainerSettings(gateway=address, token="token", scratch=tmp_path, name=given)
    for _ in range(2):
        assert _work(settings, 7, None, tmp_path, threading.Event()) is ExitCode.OK
    (shard, first), (_, second) = gateway.asked
    assert shard == 7
    if given:
        assert first == second == given
    else:
        assert "" != first != second != ""
