"""A run with small models and a split, as the evaluator's tests push and ask for it."""

import json
import urllib.request
from pathlib import Path

import grpc
import numpy as np
import pytest
from linnet_runtime.errors import LinnetError
from linnet_runtime.rpc.status import from_rpc_error

from tests.support.evaluator_process import npz_bytes

MODELS = Path(__file__).parents[1] / "data" / "evaluator"
CLASSES = [f"class {i}" for i in range(7)]
ROWS = 600


def run_files(**more: bytes) -> dict[str, bytes]:
    """Files of a run; more of them by name, with `__` for the dot."""
    rows = np.arange(ROWS)
    split = npz_bytes(training=rows[200:], validation=rows[:100], test=rows[100:200])
    files = {
        "model.float32.tflite": (MODELS / "dense.float32.tflite").read_bytes(),
        "model.int8.tflite": (MODELS / "dense.int8.tflite").read_bytes(),
        "split.npz": split,
        "manifest.json": json.dumps({"input_scaling": None}).encode(),
    }
    return files | {name.replace("__", "."): data for name, data in more.items()}


def refusal(call) -> LinnetError:
    """Give the error that a call is refused with."""
    with pytest.raises(grpc.RpcError) as caught:
        call()
    return from_rpc_error(caught.value)


def metric(service, name: str) -> float:
    """Add up a figure of /metrics over its labels."""
    with urllib.request.urlopen(f"http://{service['metrics']}/metrics") as page:
        lines = page.read().decode().splitlines()
    return sum(float(line.split()[-1]) for line in lines if line.startswith(name))
