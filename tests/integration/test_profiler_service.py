"""The profiler as a process: real gRPC, real children, real metrics."""

import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
import zipfile
from pathlib import Path

import grpc
import pytest
from linnet.v1 import profiler_service_pb2 as pb
from linnet.v1 import profiler_service_pb2_grpc
from linnet_runtime.errors import InvalidInput, LinnetError
from linnet_runtime.rpc.status import from_rpc_error

MODELS = Path(__file__).parents[1] / "data" / "profiler" / "models.zip"


def _model(name: str) -> bytes:
    with zipfile.ZipFile(MODELS) as archive:
        path = next(n for n in archive.namelist() if n.endswith(f"/{name}.tflite"))
        return archive.read(path)


@pytest.fixture(scope="module")
def service(tmp_path_factory):
    folder = tmp_path_factory.mktemp("profiler")
    endpoints = folder / "endpoint.json"
    environment = {
        **os.environ,
        "LINNET_PROFILER_ENDPOINT_FILE": str(endpoints),
        "LINNET_PROFILER_STORE_ENDPOINT": "http://127.0.0.1:9",
        "LINNET_PROFILER_STORE_ACCESS_KEY": "none",
        "LINNET_PROFILER_STORE_SECRET_KEY": "none",
    }
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "linnet_profiler"], env=environment, stderr=log
        )
    deadline = time.monotonic() + 30
    while not endpoints.exists():
        assert process.poll() is None, (folder / "log").read_text()
        assert time.monotonic() < deadline, (folder / "log").read_text()
        time.sleep(0.02)
    yield json.loads(endpoints.read_text())
    process.send_signal(signal.SIGTERM)
    assert process.wait(15) == 0


@pytest.fixture
def stub(service):
    with grpc.insecure_channel(service["address"]) as channel:
        yield profiler_service_pb2_grpc.ProfilerServiceStub(channel)


def _refusal(call) -> LinnetError:
    with pytest.raises(grpc.RpcError) as caught:
        call()
    return from_rpc_error(caught.value)


def test_a_model_is_profiled_for_every_target(stub):
    """A model without named targets comes back with one profile a target, and the smallest."""
    targets = {t.id for t in stub.ListTargets(pb.ProfilerServiceListTargetsRequest()).targets}

    response = stub.Profile(
        pb.ProfileRequest(models=[pb.ProfiledModel(content=_model("dense00_i8"))])
    )

    assert {profile.target for profile in response.profiles} == targets
    assert len(targets) >= 40
    assert response.smallest_target in targets
    assert all(p.ram.arena_declare_bytes >= p.ram.arena_used_bytes > 0 for p in response.profiles)


def test_budgets_decide_the_verdict(stub):
    """A budget below the need makes the verdict no, with the reason."""
    request = pb.ProfileRequest(
        models=[pb.ProfiledModel(content=_model("dense00_i8"))], targets=["cortex-m4f-80mhz"]
    )
    request.budgets.ram_bytes = 100

    profile = stub.Profile(request).profiles[0]

    assert not profile.verdict.fits
    assert not profile.verdict.ram_fits
    assert profile.verdict.ram_headroom_bytes == 100 - profile.ram.total_bytes
    assert "RAM" in profile.verdict.reasons[0]


def test_an_unknown_target_is_refused_with_its_place(stub):
    """The second of two targets is unknown: the error names it and suggests one."""
    request = pb.ProfileRequest(
        models=[pb.ProfiledModel(content=_model("dense00_i8"))], targets=["esp32", "esp23"]
    )

    error = _refusal(lambda: stub.Profile(request))

    assert isinstance(error, InvalidInput)
    assert error.reason == "TARGET_UNKNOWN"
    assert error.violations[0].field == "targets[1]"


@pytest.mark.parametrize("content", [b"", b"x", b"\0" * 64, b"TFL3" * 100])
def test_a_file_that_is_no_model_is_refused_and_the_service_goes_on(stub, content):
    """Rubbish is a named error; the next call is served."""
    error = _refusal(
        lambda: stub.Profile(pb.ProfileRequest(models=[pb.ProfiledModel(content=content)]))
    )

    assert error.reason == "MODEL_INVALID"
    assert stub.ListTargets(pb.ProfilerServiceListTargetsRequest()).targets


def test_calls_are_counted(service, stub):
    """/metrics counts calls by method and code."""
    stub.ListTargets(pb.ProfilerServiceListTargetsRequest())

    with urllib.request.urlopen(service["metrics"]) as page:
        text = page.read().decode()

    assert 'linnet_rpc_requests_total{code="OK",method="ProfilerService/ListTargets"}' in text
