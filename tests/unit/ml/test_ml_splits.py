"""Splits by row, group, fold and hand."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from linnet_ml.spec import SplitMethod, SplitSpec
from linnet_ml.splits import RowInfo, make_split
from linnet_runtime.errors import InvalidInput


def grouped(count=240, classes=3, groups=8, seed=0):
    rng = np.random.default_rng(seed)
    names = np.array([f"p{i:02d}" for i in rng.integers(0, groups, count)])
    return RowInfo(labels=np.arange(count) % classes, groups=names)


def stratified(**fields):
    return SplitSpec(method=SplitMethod.STRATIFIED, validation_share=0.2, **fields)


def test_stratified_split_keeps_class_shares():
    """Every class gives its fifth to the validation set, and no row is on both sides."""
    labels = np.repeat([0, 1, 2], [100, 50, 10])
    fold = make_split(stratified(), RowInfo(labels=labels), class_count=3, seed=3).folds[0]
    assert np.bincount(labels[fold.validation]).tolist() == [20, 10, 2]
    assert sorted([*fold.training, *fold.validation]) == list(range(160))


def test_seed_decides_the_split():
    """The same seed gives the same rows, another seed others."""
    rows = grouped()
    spec = SplitSpec(method=SplitMethod.GROUP, validation_share=0.25)
    first, again, other = (
        make_split(spec, rows, class_count=3, seed=s).folds[0].validation for s in (1, 1, 2)
    )
    assert first.tolist() == again.tolist()
    assert first.tolist() != other.tolist()


@given(seed=st.integers(0, 2**32 - 1), groups=st.integers(2, 12), share=st.floats(0.05, 0.9))
def test_group_split_never_divides_a_group(seed, groups, share):
    """No group is on both sides, both sides have rows, and no warning is given."""
    rows = grouped(groups=groups, seed=seed % 100)
    spec = SplitSpec(method=SplitMethod.GROUP, validation_share=share)
    split = make_split(spec, rows, class_count=3, seed=seed)
    fold = split.folds[0]
    assert fold.training.size
    assert fold.validation.size
    assert not set(rows.groups[fold.training]) & set(rows.groups[fold.validation])
    assert split.warnings == ()


@given(seed=st.integers(0, 1000), folds=st.integers(2, 6), with_groups=st.booleans())
def test_folds_validate_every_row_once(seed, folds, with_groups):
    """K folds partition the rows that are not test rows; groups stay whole."""
    rows = grouped(seed=seed)
    if not with_groups:
        rows = RowInfo(labels=rows.labels)
    spec = SplitSpec(method=SplitMethod.K_FOLD, fold_count=folds, final_fit=True, test_share=0.2)
    split = make_split(spec, rows, class_count=3, seed=seed)
    together = np.concatenate([f.validation for f in split.folds])
    rest = np.setdiff1d(np.arange(240), split.test)
    assert sorted(together) == rest.tolist() == split.final.training.tolist()
    for fold in split.folds:
        assert not set(fold.training) & set(fold.validation)
        if with_groups:
            assert not set(rows.groups[fold.training]) & set(rows.groups[fold.validation])


def test_leave_one_group_out_names_each_fold_after_its_group():
    """There is one fold a group, validated on that group."""
    rows = grouped(groups=4)
    spec = SplitSpec(method=SplitMethod.LEAVE_ONE_GROUP_OUT, test_groups=("p03",))
    split = make_split(spec, rows, class_count=3, seed=1)
    assert [f.name for f in split.folds] == ["p00", "p01", "p02"]
    assert set(rows.groups[split.test]) == {"p03"}
    assert all(set(rows.groups[f.validation]) == {f.name} for f in split.folds)


def test_straddling_recordings_are_reported():
    """A random split of overlapping windows warns of leakage."""
    labels = np.arange(60) % 3
    recordings = np.array([f"r{i // 20}" for i in range(60)])
    split = make_split(
        stratified(), RowInfo(labels=labels, recordings=recordings), class_count=3, seed=1
    )
    assert "Leakage: windows of 3 of 3 recordings" in split.warnings[0]


@pytest.mark.parametrize(
    ("spec", "field"),
    [
        (SplitSpec(method=SplitMethod.EXPLICIT, validation_groups=("nobody",)), "validation_group"),
        (SplitSpec(method=SplitMethod.EXPLICIT, validation_rows=(240,)), "validation_rows"),
        (
            SplitSpec(
                method=SplitMethod.EXPLICIT, validation_groups=("p01",), test_groups=("p01",)
            ),
            "split.validation_groups: expected no test rows",
        ),
        (
            SplitSpec(
                method=SplitMethod.EXPLICIT, validation_rows=tuple(range(240)), test_groups=("p00",)
            ),
            "split.validation_rows: expected no test rows",
        ),
        (SplitSpec(method=SplitMethod.K_FOLD, fold_count=9), "fold_count"),
        (SplitSpec(method=SplitMethod.GROUP, test_groups=("p00",), validation_share=0.2), ""),
    ],
)
def test_impossible_split_names_the_field(spec, field):
    """A split with an unknown row or group, or with an empty side, is refused."""
    rows = grouped(groups=8)
    if not field:
        rows = grouped(groups=2)
        field = "split.method"
    with pytest.raises(InvalidInput, match=field):
        make_split(spec, rows, class_count=3, seed=1)


def test_small_share_of_few_rows_is_refused():
    """A share that gives no validation row is an error, not an empty set."""
    with pytest.raises(InvalidInput, match="validation_share"):
        make_split(stratified(), RowInfo(labels=np.array([0, 1, 0, 1])), class_count=2, seed=1)


def marked_rows():
    """Give 60 rows of 6 groups; p05 is marked for validation, and one row of p00."""
    groups = np.array([f"p{i // 10:02d}" for i in range(60)])
    marks = (groups == "p05") | (np.arange(60) == 0)
    return RowInfo(labels=np.arange(60) % 3, groups=groups, validation=marks)


@pytest.mark.parametrize("test", [{}, {"test_share": 0.3}, {"test_groups": ("p01",)}])
def test_rows_that_the_dataset_marks_validate(test):
    """Whichever rows test, the marked ones validate, and neither train; leakage is told of."""
    rows = marked_rows()
    split = make_split(SplitSpec(method=SplitMethod.MARKED, **test), rows, class_count=3, seed=1)
    fold = split.folds[0]
    assert fold.validation.tolist() == [0, *range(50, 60)]
    assert bool(test) == bool(split.test.size)
    assert sorted([*fold.training, *fold.validation, *split.test]) == list(range(60))
    assert "Leakage: windows of 1 of 6 groups" in split.warnings[0]


def test_a_marked_row_is_no_test_row():
    """Test groups with marked rows are refused by name, as are rows named for validation."""
    for spec in (
        SplitSpec(method=SplitMethod.MARKED, test_groups=("p05",)),
        SplitSpec(method=SplitMethod.EXPLICIT, validation_rows=(50,), test_groups=("p05",)),
    ):
        with pytest.raises(InvalidInput, match="expected no test rows") as found:
            make_split(spec, marked_rows(), class_count=3, seed=1)
        assert found.value.reason == "TEST_AND_VALIDATION"


def test_named_validation_rows_leave_the_test_share_the_others():
    """A share for the test set is drawn among rows that are not named."""
    spec = SplitSpec(method=SplitMethod.EXPLICIT, validation_rows=tuple(range(30)), test_share=0.5)
    split = make_split(spec, RowInfo(labels=np.arange(60) % 3), class_count=3, seed=1)
    assert split.folds[0].validation.tolist() == list(range(30))
    assert split.test.size == 15
    assert split.test.min() >= 30


def test_another_split_takes_marked_rows_as_all_others():
    """With folds each row validates once, marked or not."""
    spec = SplitSpec(method=SplitMethod.K_FOLD, fold_count=3)
    split = make_split(spec, marked_rows(), class_count=3, seed=1)
    assert sorted(np.concatenate([f.validation for f in split.folds])) == list(range(60))


def test_dataset_test_rows_are_kept_out():
    """Rows that the dataset marks as test rows are in no fold."""
    test = np.zeros(30, dtype=bool)
    test[:6] = True
    rows = RowInfo(labels=np.arange(30) % 3, test=test)
    split = make_split(stratified(), rows, class_count=3, seed=1)
    assert split.test.tolist() == list(range(6))
    assert not set(split.test) & {*split.folds[0].training, *split.folds[0].validation}
