"""A real profiler process without a store, for tests."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import grpc
import pytest
from linnet.v1 import profiler_service_pb2 as pb
from linnet.v1 import spec_pb2
from linnet_ml import wire
from linnet_ml.spec import Layer, LayerKind, LayerList
from linnet_runtime.errors import LinnetError
from linnet_runtime.rpc.status import from_rpc_error

_MODELS = Path(__file__).parents[1] / "data" / "profiler" / "models.zip"


def model_file(name: str) -> bytes:
    """A measured model by its name."""
    with zipfile.ZipFile(_MODELS) as archive:
        path = next(n for n in archive.namelist() if n.endswith(f"/{name}.tflite"))
        return archive.read(path)


@contextlib.contextmanager
def profiler(folder: Path, **settings: str) -> Iterator[dict[str, str]]:
    """Run `python -m linnet_profiler` and give {"address", "metrics"}."""
    endpoints = folder / "endpoint.json"
    environment = {
        **os.environ,
        "LINNET_PROFILER_ENDPOINT_FILE": str(endpoints),
        "LINNET_PROFILER_STORE_ENDPOINT": "http://127.0.0.1:9",
        "LINNET_PROFILER_STORE_ACCESS_KEY": "none",
        "LINNET_PROFILER_STORE_SECRET_KEY": "none",
        **{f"LINNET_PROFILER_{name}": value for name, value in settings.items()},
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


def refusal(call: Callable[[], object]) -> LinnetError:
    """The error that a call ends in."""
    with pytest.raises(grpc.RpcError) as caught:
        call()
    return from_rpc_error(caught.value)


def network(**fields: object) -> pb.EstimateRequest:
    """A small network to estimate, one of its layers disabled."""
    layers = (
        Layer(LayerKind.CONV1D, units=8),
        Layer(LayerKind.FLATTEN, enabled=False),
        Layer(LayerKind.DENSE, units=20),
    )
    return pb.EstimateRequest(
        layers=wire.to_message(LayerList(layers), spec_pb2.LayerList),
        input_shape=[50, 3],
        class_count=4,
        **fields,
    )
