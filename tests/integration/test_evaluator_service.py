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
from linnet.v1 import evaluator_service_pb2 as pb
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
    stub_of,
)

MODELS = Path(__file__).parents[1] / "data" / "evaluator"
CLASSES = [f"class {i}" for i in range(7)]
ROWS = 600


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


@pytest.fixture(scope="module")
def evaluated(stub, run, dataset):
    """The run evaluated with result and scores stored."""
    return stub.Evaluate(
        request_of(
            run,
            dataset,
            CLASSES,
            result_key="projects/p/runs/r/evaluation.json",
            scores_key="projects/p/runs/r/scores.npz",
        )
    )


def _apply(stub, evaluated, limits, side=evaluation_pb2.SPLIT_SIDE_TEST):
    return stub.ApplyThresholds(
        pb.ApplyThresholdsRequest(
            scores=evaluated.scores,
            variant=run_pb2.VARIANT_INT8,
            side=side,
            thresholds=limits,
        )
    ).outcome


def test_thresholds_are_answered_from_stored_scores(service, stub, evaluated):
    """A threshold of 0 is the plain matrix, one of 1 leaves all rows uncertain; no model runs."""
    before = _metric(service, 'linnet_evaluator_work_seconds_count{kind="evaluate"}')
    plain = next(s for s in evaluated.evaluation.sets if s.variant == 2 and s.side == 3)
    assert _apply(stub, evaluated, [0.0]).confusion == plain.confusion
    every = _apply(stub, evaluated, [1.0])
    assert sum(every.uncertain_counts) == 100
    assert every.certain_share == 0.0
    by_class = _apply(stub, evaluated, [0.0] * 6 + [1.0])
    assert all(row.counts[6] == 0 for row in by_class.confusion.rows)
    assert _metric(service, 'linnet_evaluator_work_seconds_count{kind="evaluate"}') == before


def test_a_wrong_number_of_thresholds_is_refused(stub, evaluated):
    """Neither one nor one a class: the field is named."""
    error = _refusal(lambda: _apply(stub, evaluated, [0.1, 0.2]))
    assert isinstance(error, InvalidInput)
    assert error.violations[0].field == "thresholds"


def test_suggested_thresholds_are_chosen_on_validation_and_reported_on_test(evaluated):
    """Each variant has 101 points, a suggestion from validation, and outcomes on both sets."""
    for found in evaluated.evaluation.thresholds:
        assert found.chosen_on == evaluation_pb2.SPLIT_SIDE_VALIDATION
        assert len(found.overall.f1) == 101
        assert len(found.classes) == 7
        best = max(found.overall.f1)
        assert found.overall.f1[round(found.suggested * 100)] == best
        assert {o.side for o in found.outcomes} == {2, 3}


def test_says_where_it_fails(evaluated, table):
    """Hardest rows, confused pairs and groups are told for validation and test."""
    _, labels = table
    found = evaluated.evaluation.failures
    assert {(f.variant, f.side) for f in found} == {(1, 2), (1, 3), (2, 2), (2, 3)}
    for analysis in found:
        scores = [sample.actual_score for sample in analysis.hardest]
        assert scores == sorted(scores)
        assert all(sample.actual == labels[sample.row] for sample in analysis.hardest)
        assert len(analysis.groups) == 10
        assert analysis.worst_group.startswith(f"Group {analysis.groups[0].group}")
        assert analysis.side == 2 or not analysis.label_suspects


def test_a_stored_result_answers_after_a_restart(
    location, run, dataset, evaluated, tmp_path_factory
):
    """A new process answers an equal request from the store, with no model run."""
    with (
        evaluator(location, tmp_path_factory.mktemp("again")) as endpoints,
        stub_of(endpoints) as stub,
    ):
        again = stub.Evaluate(
            request_of(
                run,
                dataset,
                CLASSES,
                result_key=evaluated.result.key,
                scores_key=evaluated.scores.key,
            )
        )
        assert again == evaluated
        assert _metric(endpoints, 'linnet_evaluator_answers_total{kind="evaluate",source="store"}')


def test_a_deleted_result_is_computed_again(stub, run, dataset, store):
    """An answer in memory does not stand for files that are gone."""
    key = "projects/p/runs/r/other.json"
    request = request_of(run, dataset, CLASSES, result_key=key)
    stub.Evaluate(request)
    store.delete([key])
    stub.Evaluate(request)
    assert store.stat(key).size_bytes > 0


def test_scores_any_dataset_of_the_same_shape(stub, run, store, table):
    """Without a split, every row of another dataset is a test row, one class alone included."""
    features, labels = table
    chosen = labels == 3
    other = push(
        store,
        "projects/p/datasets/other",
        {"features.npy": npy_bytes(features[chosen]), "labels.npy": npy_bytes(labels[chosen])},
    )
    request = request_of(run, other, CLASSES, all_rows_as_test=True)
    sets = stub.Evaluate(request).evaluation.sets
    assert {s.side for s in sets} == {evaluation_pb2.SPLIT_SIDE_TEST}
    assert sets[0].sample_count == chosen.sum()
    assert not sets[0].scores.macro.HasField("roc_auc")
    assert sets[0].class_scores[0].support == 0


def test_aggregates_the_folds_of_a_k_fold_run(stub, store, dataset, table):
    """Out-of-fold scores give fold scores, their mean and spread, and a pooled set."""
    _, labels = table
    random = np.random.default_rng(0)
    rows = np.arange(200, 600)
    scores = (np.eye(7)[labels[rows]] * 2 + random.random((400, 7))).astype(np.float32)
    folds = npz_bytes(rows=rows, folds=rows % 4, scores=scores, exported_fit=np.array(1))
    run = push(store, "projects/p/runs/folds", _run_files(out_of_fold__npz=folds))
    evaluation = stub.Evaluate(request_of(run, dataset, CLASSES)).evaluation
    found = evaluation.cross_validation
    expected = [
        np.mean(scores[rows % 4 == k].argmax(1) == labels[rows[rows % 4 == k]]) for k in range(4)
    ]
    assert [fold.accuracy for fold in found.folds] == pytest.approx(expected)
    assert found.summary["accuracy"].mean == pytest.approx(np.mean(expected))
    assert found.summary["accuracy"].standard_deviation == pytest.approx(np.std(expected, ddof=1))
    pooled = next(s for s in evaluation.sets if s.side == evaluation_pb2.SPLIT_SIDE_OUT_OF_FOLD)
    assert pooled.sample_count == 400


def test_compares_two_runs_on_the_same_rows(stub, evaluated):
    """The gain is the difference of the accuracies, and a few flipped rows are no sure gain."""
    same = stub.CompareScores(
        pb.CompareScoresRequest(
            first=evaluated.scores,
            second=evaluated.scores,
            first_variant=run_pb2.VARIANT_FLOAT32,
            second_variant=run_pb2.VARIANT_INT8,
            side=evaluation_pb2.SPLIT_SIDE_TEST,
        )
    )
    sets = {(s.variant, s.side): s.scores.accuracy for s in evaluated.evaluation.sets}
    assert same.sample_count == 100
    assert same.accuracy_gain == pytest.approx(sets[2, 3] - sets[1, 3])
    assert same.p_value > 0.05


def test_runs_on_other_datasets_are_not_compared(stub, store, run, evaluated, table):
    """Scores of different datasets are refused by a reason of their own."""
    features, labels = table
    other = push(
        store,
        "projects/p/datasets/shifted",
        {"features.npy": npy_bytes(features), "labels.npy": npy_bytes((labels + 1) % 7)},
    )
    strange = stub.Evaluate(
        request_of(run, other, CLASSES, scores_key="projects/p/runs/r/strange.npz")
    )
    error = _refusal(
        lambda: stub.CompareScores(
            pb.CompareScoresRequest(
                first=evaluated.scores,
                second=strange.scores,
                first_variant=run_pb2.VARIANT_INT8,
                second_variant=run_pb2.VARIANT_INT8,
                side=evaluation_pb2.SPLIT_SIDE_TEST,
            )
        )
    )
    assert error.reason == "DATASETS_DIFFER"
