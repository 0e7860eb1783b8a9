"""A real evaluator process over a real S3 store, for tests and benches."""

import contextlib
import hashlib
import io
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import grpc
import numpy as np
from linnet.v1 import dataset_pb2, evaluator_service_pb2_grpc
from linnet.v1 import evaluator_service_pb2 as pb
from linnet_runtime.s3 import S3Location, S3Store

Stub = evaluator_service_pb2_grpc.EvaluatorServiceStub


def wait_until(ready: Callable[[], bool], process: subprocess.Popen, log: Path) -> None:
    """Wait for a process to be ready; its log is the error."""
    deadline = time.monotonic() + 60
    while not ready():
        assert process.poll() is None, log.read_text()
        assert time.monotonic() < deadline, log.read_text()
        time.sleep(0.02)


@contextlib.contextmanager
def evaluator(location: S3Location, folder: Path, **settings: str) -> Iterator[dict[str, str]]:
    """Run `python -m linnet_evaluator` and give {"address", "metrics", "pid"}."""
    endpoints = folder / "endpoint.json"
    environment = {
        "ENDPOINT_FILE": str(endpoints),
        "STORE_ENDPOINT": location.endpoint,
        "STORE_ACCESS_KEY": location.access_key,
        "STORE_SECRET_KEY": location.secret_key,
        "STORE_BUCKET": location.bucket,
        **{name.upper(): value for name, value in settings.items()},
    }
    log = folder / "log"
    with log.open("w") as file:
        process = subprocess.Popen(
            [sys.executable, "-m", "linnet_evaluator"],
            env={**os.environ, **{f"LINNET_EVALUATOR_{k}": v for k, v in environment.items()}},
            stderr=file,
        )
    try:
        wait_until(endpoints.exists, process, log)
        yield {**json.loads(endpoints.read_text()), "pid": str(process.pid)}
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0, log.read_text()
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()


@contextlib.contextmanager
def stub_of(
    endpoints: Mapping[str, str],
) -> Iterator[evaluator_service_pb2_grpc.EvaluatorServiceStub]:
    """Give a stub on a channel of its own."""
    with grpc.insecure_channel(endpoints["address"]) as channel:
        yield Stub(channel)


def npy_bytes(array: np.ndarray) -> bytes:
    """Give the .npy file of an array."""
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=False)
    return buffer.getvalue()


def npz_bytes(**arrays: np.ndarray) -> bytes:
    """Give the .npz file of arrays."""
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    return buffer.getvalue()


@dataclass(frozen=True)
class Pushed:
    """Files in the store."""

    files: tuple[dataset_pb2.StoredFile, ...]
    digest: str

    def file(self, name: str) -> dataset_pb2.StoredFile:
        return next(f for f in self.files if f.name == name)


def push(store: S3Store, prefix: str, files: Mapping[str, bytes]) -> Pushed:
    """Put files below a prefix."""
    stored = []
    for name, data in files.items():
        store.put(f"{prefix}/{name}", data)
        digest = hashlib.sha256(data).hexdigest()
        stored.append(
            dataset_pb2.StoredFile(
                name=name, key=f"{prefix}/{name}", size_bytes=len(data), sha256=digest
            )
        )
    digest = hashlib.sha256("".join(f.sha256 for f in stored).encode()).hexdigest()
    return Pushed(tuple(stored), digest)


def request_of(run: Pushed, data: Pushed, classes: list[str], **more) -> pb.EvaluateRequest:
    """Make the request that evaluates a run on its dataset."""
    return pb.EvaluateRequest(
        run="projects/p/runs/r",
        run_files=run.files,
        dataset_files=data.files,
        classes=classes,
        dataset_digest=data.digest,
        **more,
    )
