"""Whether a retrained run is better: a change that is large enough and no chance."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from linnet.v1 import evaluation_pb2, run_pb2
from linnet_gateway.batches.comparison import Change, change, comparison, two_proportions_p

VALIDATION = evaluation_pb2.SPLIT_SIDE_VALIDATION
shares = st.floats(0, 1)


def summary(**figures: float) -> run_pb2.RunSummary:
    found = run_pb2.RunSummary()
    found.variants.add(variant=run_pb2.VARIANT_INT8, test_accuracy=0.1)
    found.variants.add(variant=run_pb2.VARIANT_FLOAT32, **figures)
    return found


def test_test_rows_count_before_validation_rows() -> None:
    """Test rows are compared where both runs have some, else validation rows, else nothing."""
    both = summary(test_accuracy=0.7, validation_accuracy=0.8)
    one = summary(validation_accuracy=0.9)
    assert change(both, both) == Change(evaluation_pb2.SPLIT_SIDE_TEST, 0.7, 0.7)
    assert change(both, one) == Change(VALIDATION, 0.8, 0.9)
    assert change(both, run_pb2.RunSummary()) is None


@pytest.mark.parametrize(
    ("before", "after", "p_value", "verdict"),
    [
        (0.80, 0.84, 0.01, run_pb2.COMPARISON_VERDICT_BETTER),
        (0.84, 0.80, 0.01, run_pb2.COMPARISON_VERDICT_WORSE),
        (0.80, 0.84, 0.30, run_pb2.COMPARISON_VERDICT_EQUAL),
        (0.800, 0.804, 0.001, run_pb2.COMPARISON_VERDICT_EQUAL),
        (0.80, 0.84, None, run_pb2.COMPARISON_VERDICT_BETTER),
    ],
)
def test_better_is_large_and_sure(
    before: float, after: float, p_value: float | None, verdict: int
) -> None:
    """Half a point and a p of at most 0.05 make a verdict; chance or a trifle makes none."""
    found = comparison(Change(VALIDATION, before, after), p_value, 100)
    assert found.verdict == verdict
    assert found.HasField("p_value") == (p_value is not None)


def test_two_proportions_is_the_textbooks_test() -> None:
    """60 of 100 against 75 of 100 has z = 2.265 and a two-sided p of 0.0235."""
    assert two_proportions_p(Change(VALIDATION, 0.60, 0.75), 100) == pytest.approx(0.0235, abs=5e-5)
    assert two_proportions_p(Change(VALIDATION, 0.60, 0.75), 0) is None
    assert two_proportions_p(Change(VALIDATION, 1.0, 1.0), 10) == 1.0


@given(shares, shares, st.integers(1, 10_000))
def test_p_values_are_probabilities(before: float, after: float, rows: int) -> None:
    """Each p lies in [0, 1], does not depend on the order, and falls as rows are added."""
    p_value = two_proportions_p(Change(VALIDATION, before, after), rows)
    turned = two_proportions_p(Change(VALIDATION, after, before), rows)
    more = two_proportions_p(Change(VALIDATION, before, after), rows * 2)
    assert p_value is not None
    assert more is not None
    assert 0 <= p_value <= 1
    assert turned == pytest.approx(p_value)
    assert more <= p_value + 1e-12
