"""One evaluator, one store, one dataset and one run for the tests of a module."""

import numpy as np
import pytest
from linnet_runtime.s3 import S3Store

from tests.support.evaluated_run import MODELS, ROWS, run_files
from tests.support.evaluator_process import evaluator, npy_bytes, npz_bytes, push, stub_of


@pytest.fixture(scope="module")
def location(seaweed):
    S3Store(seaweed).create_bucket()
    return seaweed


@pytest.fixture(scope="module")
def service(location, tmp_path_factory):
    with evaluator(location, tmp_path_factory.mktemp("evaluator")) as endpoints:
        yield endpoints


@pytest.fixture(scope="module")
def stub(service):
    with stub_of(service) as found:
        yield found


@pytest.fixture(scope="module")
def store(location):
    return S3Store(location)


@pytest.fixture(scope="module")
def table():
    with np.load(MODELS / "dense.npz") as data:
        return data["features"], data["labels"]


@pytest.fixture(scope="module")
def dataset(store, table):
    features, labels = table
    groups = np.array([f"s{i % 10}" for i in range(ROWS)])
    return push(
        store,
        "projects/p/datasets/d",
        {
            "features.npy": npy_bytes(features),
            "labels.npy": npy_bytes(labels),
            "samples.npz": npz_bytes(group=groups),
        },
    )


@pytest.fixture(scope="module")
def run(store):
    return push(store, "projects/p/runs/r", run_files())
