"""What is answered from stored scores and results, through the real service and store."""

import numpy as np
import pytest
from linnet.v1 import evaluation_pb2, run_pb2
from linnet.v1 import evaluator_service_pb2 as pb
from linnet_runtime.errors import InvalidInput

from tests.support.evaluated_run import CLASSES, metric, refusal, run_files
from tests.support.evaluator_process import (
    evaluator,
    npy_bytes,
    npz_bytes,
    push,
    request_of,
    stub_of,
)


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
    before = metric(service, 'linnet_evaluator_work_seconds_count{kind="evaluate"}')
    plain = next(s for s in evaluated.evaluation.sets if s.variant == 2 and s.side == 3)
    assert _apply(stub, evaluated, [0.0]).confusion == plain.confusion
    every = _apply(stub, evaluated, [1.0])
    assert sum(every.uncertain_counts) == 100
    assert every.certain_share == 0.0
    by_class = _apply(stub, evaluated, [0.0] * 6 + [1.0])
    assert all(row.counts[6] == 0 for row in by_class.confusion.rows)
    assert metric(service, 'linnet_evaluator_work_seconds_count{kind="evaluate"}') == before


def test_a_wrong_number_of_thresholds_is_refused(stub, evaluated):
    """Neither one nor one a class: the field is named."""
    error = refusal(lambda: _apply(stub, evaluated, [0.1, 0.2]))
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
        assert metric(endpoints, 'linnet_evaluator_answers_total{kind="evaluate",source="store"}')


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
    run = push(store, "projects/p/runs/folds", run_files(out_of_fold__npz=folds))
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
    error = refusal(
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
