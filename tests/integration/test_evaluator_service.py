"""The evaluator as a process: real gRPC, a real S3 store, real .tflite files."""

import json
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc
import numpy as np
import pytest
from google.protobuf import json_format
from linnet.v1 import evaluation_pb2, run_pb2
from linnet_runtime.errors import InvalidInput, LinnetError, NotFound
from linnet_runtime.rpc.status import from_rpc_error
from linnet_runtime.s3 import S3Store
from sklearn import metrics

from tests.support.evaluator_process import (
    evaluator,
    npy_bytes,
    npz_bytes,
    push,
    request_of,
    s3_store,
    stub_of,
)

MODELS = Path(__file__).parents[1] / "data" / "evaluator"
CLASSES = [f"class {i}" for i in range(7)]
ROWS = 600


@pytest.fixture(scope="module")
def location(tmp_path_factory):
    with s3_store(tmp_path_factory.mktemp("store")) as place:
        yield place


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


def _run_files(**more: bytes) -> dict[str, bytes]:
    rows = np.arange(ROWS)
    split = npz_bytes(training=rows[200:], validation=rows[:100], test=rows[100:200])
    files = {
        "model.float32.tflite": (MODELS / "dense.float32.tflite").read_bytes(),
        "model.int8.tflite": (MODELS / "dense.int8.tflite").read_bytes(),
        "split.npz": split,
        "manifest.json": json.dumps({"input_scaling": None}).encode(),
    }
    return files | {name.replace("__", "."): data for name, data in more.items()}


@pytest.fixture(scope="module")
def run(store):
    return push(store, "projects/p/runs/r", _run_files())


def _refusal(call) -> LinnetError:
    with pytest.raises(grpc.RpcError) as caught:
        call()
    return from_rpc_error(caught.value)


def _metric(service, name: str) -> float:
    with urllib.request.urlopen(f"http://{service['metrics']}/metrics") as page:
        lines = page.read().decode().splitlines()
    return sum(float(line.split()[-1]) for line in lines if line.startswith(name))


def test_scores_both_variants_on_every_side(stub, run, dataset, store, table):
    """Every variant and side is scored on the .tflite file, and the result is in the store."""
    key = "projects/p/runs/r/evaluation.json"
    response = stub.Evaluate(request_of(run, dataset, CLASSES, result_key=key))
    evaluation = response.evaluation
    assert len(evaluation.sets) == 6
    assert list(response.variants) == [run_pb2.VARIANT_FLOAT32, run_pb2.VARIANT_INT8]
    _, labels = table
    for found in evaluation.sets:
        cells = np.array([row.counts for row in found.confusion.rows])
        on_side = {1: labels[200:], 2: labels[:100], 3: labels[100:200]}[found.side]
        assert cells.sum(axis=1).tolist() == np.bincount(on_side, minlength=7).tolist()
        assert found.scores.accuracy == pytest.approx(np.trace(cells) / len(on_side))
        assert found.scores.accuracy > 0.5
        assert found.model_sha256 in {f.sha256 for f in run.files}
    stored = json_format.Parse(store.get(key), evaluation_pb2.Evaluation())
    assert stored == evaluation


def test_agrees_with_scikit_learn_on_the_float_file(stub, run, dataset, table):
    """The service's scores are those of scikit-learn on LiteRT's own output."""
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    features, labels = table
    interpreter = Interpreter(
        model_path=str(MODELS / "dense.float32.tflite"),
        experimental_op_resolver_type=OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
    )
    interpreter.allocate_tensors()
    scores = []
    for row in features[100:200]:
        interpreter.set_tensor(interpreter.get_input_details()[0]["index"], row[None])
        interpreter.invoke()
        scores.append(interpreter.get_tensor(interpreter.get_output_details()[0]["index"])[0])
    scores = np.array(scores)
    sets = stub.Evaluate(request_of(run, dataset, CLASSES)).evaluation.sets
    found = next(s for s in sets if s.variant == run_pb2.VARIANT_FLOAT32 and s.side == 3).scores
    actual = labels[100:200]
    shares = scores / scores.sum(axis=1, keepdims=True, dtype=np.float64)
    assert found.accuracy == metrics.accuracy_score(actual, scores.argmax(axis=1))
    assert found.loss == pytest.approx(metrics.log_loss(actual, shares), abs=1e-6)
    assert found.mcc == pytest.approx(metrics.matthews_corrcoef(actual, scores.argmax(axis=1)))
    area = metrics.roc_auc_score(actual, shares, multi_class="ovr")
    assert found.macro.roc_auc == pytest.approx(area)


def test_compares_the_variants_on_the_test_rows(stub, run, dataset):
    """int8 is recommended where it costs nothing, with agreement and flipped rows told."""
    compared = stub.Evaluate(request_of(run, dataset, CLASSES)).evaluation.comparison
    assert compared.side == evaluation_pb2.SPLIT_SIDE_TEST
    assert compared.recommended == run_pb2.VARIANT_INT8
    assert len(compared.flipped_rows) == round((1 - compared.agreement) * 100)
    assert all(100 <= row < 200 for row in compared.flipped_rows)


def test_two_equal_requests_at_once_do_the_work_once(service, stub, store, dataset):
    """Single flight: the work counter rises by one for eight equal requests."""
    run = push(store, "projects/p/runs/once", _run_files(manifest__json=b'{"note": "once"}'))
    before = _metric(service, 'linnet_evaluator_answers_total{kind="evaluate",source="work"}')
    with ThreadPoolExecutor(8) as pool:
        answers = list(
            pool.map(lambda _: stub.Evaluate(request_of(run, dataset, CLASSES)), range(8))
        )
    after = _metric(service, 'linnet_evaluator_answers_total{kind="evaluate",source="work"}')
    assert after - before == 1
    assert all(answer == answers[0] for answer in answers)


def test_a_missing_object_is_not_found(stub, run, dataset, store):
    """A key that the store lacks is NOT_FOUND, not an internal error."""
    request = request_of(run, dataset, CLASSES)
    request.run_files[0].key = "projects/p/runs/none/model"
    request.run_files[0].sha256 = "0" * 64
    assert isinstance(_refusal(lambda: stub.Evaluate(request)), NotFound)


def test_a_changed_file_is_refused(stub, run, dataset):
    """A file that is not what its digest says is refused by name."""
    request = request_of(run, dataset, CLASSES)
    request.run_files[0].sha256 = "0" * 64
    error = _refusal(lambda: stub.Evaluate(request))
    assert isinstance(error, InvalidInput)
    assert error.reason == "DIGEST_MISMATCH"
    assert error.violations[0].field == "model.float32.tflite"


def test_serves_metrics(service):
    """/metrics has the process's memory and the evaluator's own counters."""
    assert _metric(service, "process_resident_memory_bytes") > 0
    assert _metric(service, "linnet_evaluator_work_seconds_count") >= 0
