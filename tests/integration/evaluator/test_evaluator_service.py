"""The evaluator as a process: real gRPC, a real S3 store, real .tflite files."""

import urllib.request
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from google.protobuf import json_format
from linnet.v1 import evaluation_pb2, run_pb2
from linnet_runtime.errors import InvalidInput, NotFound
from sklearn import metrics

from tests.support.evaluated_run import CLASSES, MODELS, metric, refusal, run_files
from tests.support.evaluator_process import (
    push,
    request_of,
)


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
    run = push(store, "projects/p/runs/once", run_files(manifest__json=b'{"note": "once"}'))
    before = metric(service, 'linnet_evaluator_answers_total{kind="evaluate",source="work"}')
    with ThreadPoolExecutor(8) as pool:
        answers = list(
            pool.map(lambda _: stub.Evaluate(request_of(run, dataset, CLASSES)), range(8))
        )
    after = metric(service, 'linnet_evaluator_answers_total{kind="evaluate",source="work"}')
    assert after - before == 1
    assert all(answer == answers[0] for answer in answers)


def test_a_missing_object_is_not_found(stub, run, dataset, store):
    """A key that the store lacks is NOT_FOUND, not an internal error."""
    request = request_of(run, dataset, CLASSES)
    request.run_files[0].key = "projects/p/runs/none/model"
    request.run_files[0].sha256 = "0" * 64
    assert isinstance(refusal(lambda: stub.Evaluate(request)), NotFound)


def test_a_changed_file_is_refused(stub, run, dataset):
    """A file that is not what its digest says is refused by name."""
    request = request_of(run, dataset, CLASSES)
    request.run_files[0].sha256 = "0" * 64
    error = refusal(lambda: stub.Evaluate(request))
    assert isinstance(error, InvalidInput)
    assert error.reason == "DIGEST_MISMATCH"
    assert error.violations[0].field == "model.float32.tflite"


def test_serves_metrics(service):
    """/metrics has the process's memory and the evaluator's own counters; health is beside it."""
    with urllib.request.urlopen(f"http://{service['metrics']}/readyz") as health:
        assert health.status == 200
    assert metric(service, "process_resident_memory_bytes") > 0
    assert metric(service, "linnet_evaluator_work_seconds_count") >= 0
