# ruff: noqa: PLR2004 - two sides need two of a thing
"""Which rows train, validate and test; everything follows from the spec, the labels and the seed.

Groups (people, machines, recordings) stay on one side wherever the method says so, and a split
that leaks is reported instead of being passed over.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from linnet_runtime.errors import InvalidInput
from numpy.typing import NDArray

from linnet_ml.fold_assignment import (
    choose_groups,
    choose_stratified,
    group_folds,
    stratified_folds,
)
from linnet_ml.spec import SplitMethod, SplitSpec

Rows = NDArray[np.int64]
Names = NDArray[np.str_]


@dataclass(frozen=True, slots=True)
class RowInfo:
    """What a split has to know of a dataset's rows, all of length n.

    Attributes:
        labels: Class of each row, from 0.
        groups: Group key of each row; None without one.
        recordings: Recording that each row was cut from; None if not known.
        test: Marks rows that the dataset names as test rows; None for none.
        validation: Marks rows that it names as validation rows; None for none.
    """

    labels: NDArray[np.integer]
    groups: Names | None = None
    recordings: Names | None = None
    test: NDArray[np.bool_] | None = None
    validation: NDArray[np.bool_] | None = None


@dataclass(frozen=True, slots=True)
class Fold:
    """One fit: sorted row indices; `validation` may be empty."""

    name: str
    training: Rows
    validation: Rows


@dataclass(frozen=True, slots=True)
class Split:
    """All fits of a run.

    Attributes:
        folds: One entry for a plain split, one a fold otherwise.
        final: The fit on all rows that are not test rows, after the folds; None without it.
        test: Rows that no fit sees.
        warnings: For a person: leakage, classes that a side lacks.
    """

    folds: tuple[Fold, ...]
    final: Fold | None
    test: Rows
    warnings: tuple[str, ...]


def make_split(spec: SplitSpec, rows: RowInfo, *, class_count: int, seed: int) -> Split:
    """Divide rows into training, validation and test.

    Args:
        spec: A resolved split, see `linnet_ml.defaults`.
        rows: The rows.
        class_count: Classes of the dataset.
        seed: Decides every random choice; from 0 to 2**32 - 1.

    Returns:
        The row indices of every fit.

    Raises:
        InvalidInput: A side would be empty, a named row or group does not exist, or training
            would see one class only; names the field.
    """
    _check_rows(rows, class_count)
    named = dict(_named(spec, rows))
    test = _test_rows(spec, rows, named, seed)
    rest = np.setdiff1d(np.arange(rows.labels.size, dtype=np.int64), test)
    if rest.size == 0:
        raise InvalidInput.of("split", "expected rows to train on, all are test rows")
    if named:
        validation = np.unique(np.concatenate(list(named.values())))
        folds: tuple[Fold, ...] = (Fold("", np.setdiff1d(rest, validation), validation),)
    else:
        folds = tuple(_folds(spec, rows, rest, class_count, seed))
    final = None
    if spec.final_fit:
        final = Fold("final", rest, np.zeros(0, dtype=np.int64))
    warnings: list[str] = []
    for fold in folds:
        _check_fold(fold, rows, class_count)
    warnings += _missing_classes(folds[0], rows, class_count) if len(folds) == 1 else []
    warnings += _leaks(folds, test, rows)
    return Split(folds, final, test, tuple(warnings))


def _check_rows(rows: RowInfo, class_count: int) -> None:
    count = rows.labels.size
    if count == 0:
        raise InvalidInput.of("labels", "expected rows, received none")
    low, high = int(rows.labels.min()), int(rows.labels.max())
    if low < 0 or high >= class_count:
        raise InvalidInput.of(
            "labels", f"expected labels from 0 to {class_count - 1}, received {low} to {high}"
        )
    for name in ("groups", "recordings", "test", "validation"):
        column = getattr(rows, name)
        if column is not None and column.shape != (count,):
            raise InvalidInput.of(
                f"samples.{name}", f"expected {count} entries, received {column.shape}"
            )


def _groups(rows: RowInfo, field: str) -> Names:
    if rows.groups is None:
        raise InvalidInput.of(field, "expected a dataset with groups, received one without")
    return rows.groups


def _rows_of(named: tuple[str, ...], rows: RowInfo, field: str) -> Rows:
    groups = _groups(rows, field)
    unknown = sorted(set(named) - set(np.unique(groups).tolist()))
    if unknown:
        raise InvalidInput.of(field, f"expected groups of the dataset, received {unknown[:10]}")
    return np.flatnonzero(np.isin(groups, np.asarray(named)))


def _marked(column: NDArray[np.bool_] | None) -> Rows:
    return np.zeros(0, dtype=np.int64) if column is None else np.flatnonzero(column)


def _named(spec: SplitSpec, rows: RowInfo) -> Iterator[tuple[str, Rows]]:
    """Give the validation rows that are named one by one, by the field that names them."""
    if spec.method is SplitMethod.MARKED:
        yield "samples.validation", _marked(rows.validation)
    if spec.method is not SplitMethod.EXPLICIT:
        return
    listed = np.unique(np.asarray(spec.validation_rows, dtype=np.int64))
    if listed.size and not (listed[0] >= 0 and listed[-1] < rows.labels.size):
        raise InvalidInput.of(
            "split.validation_rows",
            f"expected rows from 0 to {rows.labels.size - 1}, received {listed[0]} to {listed[-1]}",
        )
    yield "split.validation_rows", listed
    if spec.validation_groups:
        field = "split.validation_groups"
        yield field, _rows_of(spec.validation_groups, rows, field)


def _test_rows(spec: SplitSpec, rows: RowInfo, named: Mapping[str, Rows], seed: int) -> Rows:
    test = _marked(rows.test)
    if spec.test_groups:
        test = np.union1d(test, _rows_of(spec.test_groups, rows, "split.test_groups"))
    for field, validation in named.items():
        both = np.intersect1d(validation, test).size
        if both:
            raise InvalidInput.of(
                field,
                f"expected no test rows, received {both} of them",
                reason="TEST_AND_VALIDATION",
            )
    if test.size or not spec.test_share:
        return test
    among = np.arange(rows.labels.size, dtype=np.int64)
    for validation in named.values():
        among = np.setdiff1d(among, validation)
    grouped = rows.groups is not None and spec.method is not SplitMethod.STRATIFIED
    return _choose(spec.test_share, rows, among, seed, grouped=grouped, side="test")


def _choose(
    share: float, rows: RowInfo, among: Rows, seed: int, *, grouped: bool, side: str
) -> Rows:
    stream = {"validation": 1, "test": 2}[side]
    rng = np.random.Generator(np.random.PCG64([seed, stream]))
    labels = rows.labels[among]
    if grouped:
        groups = _groups(rows, "split.method")[among]
        if np.unique(groups).size < 2:
            raise InvalidInput.of(
                "split.method",
                f"expected at least two groups besides test rows for a {side} set, received one",
            )
        return among[choose_groups(labels, groups, share, rng)]
    chosen = choose_stratified(labels, share, rng)
    if chosen.size == 0:
        raise InvalidInput.of(
            f"split.{side}_share",
            f"expected a share that gives a {side} row, received {share} of {among.size} rows",
        )
    return among[chosen]


def _folds(
    spec: SplitSpec, rows: RowInfo, rest: Rows, class_count: int, seed: int
) -> Iterator[Fold]:
    method = spec.method
    if method is SplitMethod.K_FOLD:
        yield from _k_folds(spec, rows, rest, class_count, seed)
    elif method is SplitMethod.LEAVE_ONE_GROUP_OUT:
        groups = _groups(rows, "split.method")[rest]
        names = np.unique(groups)
        if names.size < 2:
            raise InvalidInput.of("split.method", "expected at least two groups, received one")
        for name in names:
            yield Fold(str(name), rest[groups != name], rest[groups == name])
    else:
        validation = _validation_rows(spec, rows, rest, seed)
        yield Fold("", np.setdiff1d(rest, validation), validation)


def _k_folds(
    spec: SplitSpec, rows: RowInfo, rest: Rows, class_count: int, seed: int
) -> Iterator[Fold]:
    rng = np.random.Generator(np.random.PCG64([seed, 3]))
    labels = rows.labels[rest]
    units = rest.size
    if rows.groups is not None:
        units = np.unique(rows.groups[rest]).size
    if units < spec.fold_count:
        what = "rows" if rows.groups is None else "groups"
        raise InvalidInput.of(
            "split.fold_count",
            f"expected at most {units}, the {what} there are, received {spec.fold_count}",
        )
    if rows.groups is None:
        fold_of = stratified_folds(labels, spec.fold_count, rng)
    else:
        fold_of = group_folds(labels, rows.groups[rest], spec.fold_count, class_count, rng)
    for number in range(spec.fold_count):
        yield Fold(f"fold {number + 1}", rest[fold_of != number], rest[fold_of == number])


def _validation_rows(spec: SplitSpec, rows: RowInfo, rest: Rows, seed: int) -> Rows:
    if spec.no_validation:
        return np.zeros(0, dtype=np.int64)
    grouped = spec.method is SplitMethod.GROUP
    return _choose(
        spec.validation_share or 0.0, rows, rest, seed, grouped=grouped, side="validation"
    )


def _check_fold(fold: Fold, rows: RowInfo, class_count: int) -> None:
    if fold.training.size == 0:
        raise InvalidInput.of("split", "expected rows to train on, none are left")
    present = np.unique(rows.labels[fold.training]).size
    if present < 2:
        where = f" in {fold.name!r}" if fold.name else ""
        raise InvalidInput.of(
            "split",
            f"expected training rows of at least two of {class_count} classes{where}, "
            f"received {present}",
        )


def _missing_classes(fold: Fold, rows: RowInfo, class_count: int) -> Iterator[str]:
    for side in ("training", "validation"):
        chosen = getattr(fold, side)
        missing = np.setdiff1d(np.arange(class_count), rows.labels[chosen])
        if chosen.size and missing.size:
            listed = ", ".join(str(c) for c in missing[:10])
            yield f"The {side} set has no rows of class {listed}."


def _leaks(folds: tuple[Fold, ...], test: Rows, rows: RowInfo) -> Iterator[str]:
    for kind, keys in (("recording", rows.recordings), ("group", rows.groups)):
        if keys is None:
            continue
        shared: set[str] = set()
        for fold in folds:
            sides = [np.unique(keys[part]) for part in (fold.training, fold.validation, test)]
            shared.update(np.intersect1d(sides[0], sides[1]).tolist())
            shared.update(np.intersect1d(np.union1d(sides[0], sides[1]), sides[2]).tolist())
        if shared:
            count = np.unique(keys).size
            yield (
                f"Leakage: windows of {len(shared)} of {count} {kind}s are on both sides of the "
                "split, so the scores are too good; split by group instead."
            )
            return
