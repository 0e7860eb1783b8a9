"""What the check of a dataset accepts, and how it refuses everything else."""

import io
import pickle
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from linnet_ml import datasets, npy
from linnet_ml.samples import Samples, read_samples, read_text
from linnet_ml.samples import samples_bytes as to_npz
from linnet_runtime.errors import InvalidInput

FEATURES = np.arange(24, dtype=np.float32).reshape(6, 4)
LABELS = np.array([0, 1, 2, 0, 1, 2])


def as_file(array: Any) -> io.BytesIO:
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=True)
    buffer.seek(0)
    return buffer


def check(
    features: Any = FEATURES,
    labels: Any = LABELS,
    samples: Samples | bytes | None = None,
    class_count: int = 3,
) -> datasets.Facts:
    data = to_npz(samples) if isinstance(samples, Samples) else samples
    return datasets.check(
        features if isinstance(features, io.BytesIO) else as_file(features),
        labels if isinstance(labels, io.BytesIO) else as_file(labels),
        None if data is None else io.BytesIO(data),
        class_count=class_count,
    )


def refusal(**arguments: Any) -> InvalidInput:
    with pytest.raises(InvalidInput) as caught:
        check(**arguments)
    return caught.value


def test_facts_of_a_good_dataset() -> None:
    """Shape, rows, classes, groups and test rows are counted as they are."""
    facts = check(
        samples=Samples(
            group=np.array(["b", "a", "a", "b", "c", "c"]),
            test=np.array([False, False, False, False, True, False]),
            validation=np.array([True, False, False, True, False, False]),
        )
    )
    assert facts.input_shape == (4,)
    assert facts.sample_count == 6
    assert facts.class_counts == (2, 2, 2)
    assert facts.test_class_counts == (0, 1, 0)
    assert facts.test_count == 1
    assert facts.validation_count == 2
    assert [(g.name, g.class_counts, g.test_count) for g in facts.groups] == [
        ("a", (0, 1, 1), 0),
        ("b", (2, 0, 0), 0),
        ("c", (0, 0, 1), 1),
    ]


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_features_that_are_not_finite_are_refused(bad: float, dtype: Any) -> None:
    """The message names the very value's place."""
    features = FEATURES.astype(dtype)
    features[4, 2] = bad
    error = refusal(features=features)
    assert error.reason == "NOT_FINITE"
    assert error.violations[0].field == "features.npy[4, 2]"


@given(row=st.integers(0, 999), column=st.integers(0, 99))
def test_a_bad_value_is_found_wherever_it_is(row: int, column: int) -> None:
    """A check in small pieces finds the one bad value of any row and names it."""
    features = np.zeros((1000, 100), np.float32)
    features[row, column] = np.nan
    file = as_file(features)
    header = npy.read_header(file, "features.npy")
    done = 0
    with pytest.raises(InvalidInput) as caught:  # noqa: PT012 - which chunk raises is the matter
        for chunk in npy.read_rows(file, header, "features.npy", chunk_bytes=4096):
            datasets._check_finite(chunk, done)
            done += len(chunk)
    assert caught.value.violations[0].field == f"features.npy[{row}, {column}]"


@pytest.mark.parametrize(
    ("arguments", "field", "reason"),
    [
        ({"labels": LABELS[:5]}, "labels.npy", "ROW_COUNT_MISMATCH"),
        ({"labels": LABELS.reshape(2, 3)}, "labels.npy", "WRONG_SHAPE"),
        ({"labels": np.zeros(6, np.int64)}, "labels.npy", "ONE_CLASS_ONLY"),
        ({"labels": np.array([0, 1, 3, 0, 1, 2])}, "labels.npy[2]", "LABEL_OUT_OF_RANGE"),
        ({"labels": np.array([0, -1, 2, 0, 1, 2])}, "labels.npy[1]", "LABEL_OUT_OF_RANGE"),
        ({"labels": LABELS.astype(np.float32)}, "labels.npy", "WRONG_DTYPE"),
        ({"labels": np.array(list("abcabc"))}, "labels.npy", "WRONG_DTYPE"),
        ({"class_count": 7}, "features.npy", "TOO_FEW_SAMPLES"),
        ({"features": FEATURES[:, 0]}, "features.npy", "WRONG_SHAPE"),
        ({"features": np.zeros((6, 1, 1, 1, 1))}, "features.npy", "WRONG_SHAPE"),
        ({"features": np.zeros((6, 0))}, "features.npy", "WRONG_SHAPE"),
        ({"features": np.zeros((0, 4))}, "features.npy", "WRONG_SHAPE"),
        ({"features": np.float32(3)}, "features.npy", "WRONG_SHAPE"),
        ({"features": FEATURES.astype(">f4")}, "features.npy", "WRONG_DTYPE"),
        ({"features": FEATURES.astype(np.complex64)}, "features.npy", "WRONG_DTYPE"),
        ({"features": np.asfortranarray(FEATURES)}, "features.npy", "NOT_C_ORDER"),
        ({"features": io.BytesIO(b"")}, "features.npy", "NOT_NPY"),
        ({"features": io.BytesIO(b"PK\x03\x04 a zip")}, "features.npy", "NOT_NPY"),
        ({"features": io.BytesIO(as_file(FEATURES).read()[:-1])}, "features.npy", "TRUNCATED"),
        (
            {"features": io.BytesIO(as_file(FEATURES).read() + b"x")},
            "features.npy",
            "TRAILING_BYTES",
        ),
        ({"features": io.BytesIO(as_file(FEATURES).read()[:40])}, "features.npy", "NOT_NPY"),
        ({"samples": b"no zip"}, "samples.npz", "NOT_NPZ"),
        (
            {"samples": Samples(group=np.array(["a"] * 5))},
            "samples.npz/group.npy",
            "ROW_COUNT_MISMATCH",
        ),
        (
            {"samples": Samples(test=np.array([False, False, False, True, False, False]) | True)},
            "samples.npz/test.npy",
            "ONE_CLASS_ONLY",
        ),
        (
            {"samples": Samples(test=LABELS == 1, validation=LABELS == 0)},
            "samples.npz/validation.npy",
            "ONE_CLASS_ONLY",
        ),
        (
            {"samples": Samples(test=np.arange(6) == 4, validation=np.arange(6) > 3)},
            "samples.npz/validation.npy[4]",
            "TEST_AND_VALIDATION",
        ),
        (
            {"samples": Samples(validation=LABELS)},
            "samples.npz/validation.npy",
            "WRONG_DTYPE",
        ),
    ],
)
def test_what_is_wrong_is_named(arguments: dict[str, Any], field: str, reason: str) -> None:
    """Each kind of broken dataset gets its own reason and the file to blame."""
    error = refusal(**arguments)
    assert (error.violations[0].field, error.reason) == (field, reason)


class Bomb:
    """Tells on whoever unpickles it."""

    went_off = False

    def __reduce__(self) -> tuple[Any, tuple[Any, ...]]:
        return (exec, ("from tests.unit.ml import test_ml_datasets as t; t.Bomb.went_off = True",))


def test_pickles_are_refused_and_never_loaded() -> None:
    """Neither an object array, nor a bare pickle, nor an object member of the .npz is unpickled."""
    objects = np.empty(6, object)
    objects[:] = [Bomb() for _ in range(6)]
    assert refusal(features=objects.reshape(6, 1)).reason == "PICKLED_NPY"
    assert refusal(labels=objects).reason == "PICKLED_NPY"
    assert refusal(features=io.BytesIO(pickle.dumps(Bomb()))).reason == "PICKLED_NPY"
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("group.npy", as_file(objects).read())
    assert refusal(samples=archive.getvalue()).reason == "PICKLED_NPY"
    assert not Bomb.went_off


def test_members_that_are_not_known_are_refused() -> None:
    """A .npz with a member of another name, such as a path trick, is refused by that name."""
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("../group.npy", as_file(LABELS).read())
    error = refusal(samples=archive.getvalue())
    assert error.reason == "UNKNOWN_MEMBER"
    assert error.violations[0].field == "samples.npz/../group.npy"


@pytest.mark.parametrize("name", ["\ud800", "a\0b", "x" * 1001])
def test_names_that_no_program_can_write_are_refused_by_row(name: str) -> None:
    """Half a character, NUL within and names of thousands of characters are told by their row."""
    groups = np.array([*"abcde", name])
    assert refusal(samples=Samples(group=groups)).violations[0].field == "samples.npz/group.npy[5]"


def test_long_columns_are_read_to_their_end() -> None:
    """Of thousands of long names the last one is looked at too."""
    many = np.array(["b" * 1000] * 2500)
    assert read_text(many, "column") is many
    many[-1] = "b\ud800"
    with pytest.raises(InvalidInput, match=r"column\[2499\]: expected whole characters"):
        read_text(many, "column")


def test_a_number_of_no_character_is_refused() -> None:
    """Bytes that are no code points would fail whoever prints them."""
    broken = np.full(6, 2**32 - 1, np.uint32).view("<U1")
    assert refusal(samples=Samples(recording=broken)).reason == "WRONG_TEXT"


@given(places=st.lists(st.integers(0, 2000), min_size=1, max_size=8), value=st.integers(0, 255))
def test_a_damaged_archive_is_read_or_refused(places: list[int], value: int) -> None:
    """Whatever bytes of a packed samples.npz are changed, the answer is a value or a refusal."""
    packed = bytearray(to_npz(Samples(group=np.array(list("aabbcc")), test=np.arange(6) > 4)))
    for place in places:
        packed[place % len(packed)] = value
    fields = ["samples.npz"]
    try:
        found = read_samples(io.BytesIO(packed), 6)
    except InvalidInput as error:
        fields = [violation.field for violation in error.violations]
    else:
        assert found.group is None or found.group.shape == (6,)
    assert all(field.startswith("samples.npz") for field in fields)


@pytest.mark.parametrize(
    "header",
    [
        b"{'descr': '<f4', 'fortran_order': False, 'shape': (6, 4, }",
        b"{'descr': '<f4', 'fortran_order': False, b'shape': (6, 4)}",
        b"{'descr': '<f4', 'fortran_order': False, 'shape': (6, 4",
        b"(" * 5000,
        b"\xe6",
    ],
)
def test_a_broken_header_is_refused(header: bytes) -> None:
    """A header that is no Python, or not the one that numpy writes, is no .npy file."""
    file = b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header + bytes(96)
    assert refusal(features=io.BytesIO(file)).reason == "NOT_NPY"


@given(places=st.lists(st.integers(0, 260), min_size=1, max_size=4), value=st.integers(0, 255))
def test_a_damaged_npy_file_is_read_or_refused(places: list[int], value: int) -> None:
    """Whatever bytes of a features.npy are changed, the answer is a header or a refusal."""
    stored = bytearray(npy.to_bytes(FEATURES))
    for place in places:
        stored[place % len(stored)] = value
    reason = ""
    try:
        header = datasets.check_features(io.BytesIO(stored))
    except InvalidInput as error:
        reason = error.reason
    else:
        assert header.data_bytes == FEATURES.nbytes
    assert reason != "INVALID_INPUT"


def test_a_header_that_claims_too_much_is_refused_before_reading() -> None:
    """A small file whose header claims a terabyte of rows is refused by its header."""
    buffer = io.BytesIO()
    np.lib.format.write_array_header_2_0(
        buffer, {"descr": "<f4", "fortran_order": False, "shape": (2**40, 4)}
    )
    buffer.seek(0)
    assert refusal(features=buffer).reason == "TOO_LARGE"
    buffer = io.BytesIO()
    np.lib.format.write_array_header_2_0(
        buffer, {"descr": "<i8", "fortran_order": False, "shape": (2**40,)}
    )
    buffer.seek(0)
    assert refusal(labels=buffer).reason == "TOO_LARGE"


def test_files_come_back_as_written(tmp_path: Path) -> None:
    """What is written is what the loaders read."""
    (tmp_path / "features.npy").write_bytes(npy.to_bytes(FEATURES))
    (tmp_path / "labels.npy").write_bytes(npy.to_bytes(LABELS.astype(np.int32)))
    samples = Samples(
        sample_id=np.array([f"row {i}" for i in range(6)]), group=np.array(list("aabbcc"))
    )
    (tmp_path / "samples.npz").write_bytes(to_npz(samples))
    assert (datasets.load_features(tmp_path / "features.npy") == FEATURES).all()
    labels = datasets.load_labels(tmp_path / "labels.npy")
    assert labels.dtype == np.int64
    assert (labels == LABELS).all()
    again = datasets.load_samples(tmp_path / "samples.npz", 6)
    assert again.group is not None
    assert again.sample_id is not None
    assert list(again.group) == list("aabbcc")
    assert again.sample_id[3] == "row 3"
    assert again.test is None
    assert again.recording is None
