"""The built-in datasets, out of their real packages."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest
from linnet.v1 import dataset_pb2
from linnet_sdk import examples
from linnet_sdk.examples import smartwatch


@pytest.fixture(scope="module")
def recordings() -> list[smartwatch.Recording]:
    return smartwatch.installed_recordings()[0]


def test_the_recordings_are_those_of_the_package(
    recordings: list[smartwatch.Recording],
) -> None:
    """140 recordings of 10 people are read, equal to what numpy reads with pickles allowed."""
    spec = importlib.util.find_spec("seglearn")
    assert spec is not None
    assert spec.origin is not None
    file = Path(spec.origin).parent / "data" / "watch_dataset.npy"
    own = np.load(file, allow_pickle=True, encoding="latin1").item()

    assert len(recordings) == 140
    assert len({r.subject for r in recordings}) == 10
    for recording, values, label, subject in zip(
        recordings, own["X"], own["y"], own["subject"], strict=True
    ):
        np.testing.assert_array_equal(recording.values, values.astype(np.float32))
        assert (recording.label, recording.subject) == (label, f"s{int(subject):02d}")


def test_windows_are_cut_every_second(recordings: list[smartwatch.Recording]) -> None:
    """Each window is the 100 steps that its id names; none crosses a recording or is left out."""
    cut = smartwatch.cut_windows(recordings, tuple("abcdefg"))
    by_id = {r.id: r for r in recordings}

    assert cut.values.shape == (4677, 100, 6)
    assert len(cut.values) == sum((len(r.values) - 100) // 50 + 1 for r in recordings)
    for index in range(0, 4677, 97):
        name, _, start = cut.ids[index].partition("-")
        expected = by_id[name].values[int(start) : int(start) + 100]
        np.testing.assert_array_equal(cut.values[index], expected)
        assert cut.labels[index] == by_id[name].label


@pytest.mark.parametrize("name", examples.NAMES)
def test_examples_are_fit_to_push(name: str) -> None:
    """Every example has finite float32 features, a label for each row, and every class."""
    arrays = examples.load(name)

    assert arrays.features.dtype == np.float32
    assert np.isfinite(arrays.features).all()
    assert set(np.unique(arrays.labels)) == set(range(len(arrays.classes)))
    if arrays.feature_names:
        assert len(arrays.feature_names) == arrays.features.shape[-1]


def test_three_input_kinds_and_more_are_covered() -> None:
    """The examples cover raw windows, spectral features, images and tabular data."""
    assert {examples.load(name).input_kind for name in examples.NAMES} == {
        dataset_pb2.INPUT_KIND_TIME_SERIES,
        dataset_pb2.INPUT_KIND_SPECTRAL,
        dataset_pb2.INPUT_KIND_IMAGE,
        dataset_pb2.INPUT_KIND_TABULAR,
    }


def test_test_subjects_are_on_one_side() -> None:
    """The test rows are all rows of the three test people; every class is on both sides."""
    arrays = examples.load("smartwatch-raw")
    groups = np.asarray(arrays.groups)
    assert arrays.test is not None

    assert set(groups[arrays.test]) == set(smartwatch.TEST_SUBJECTS)
    assert not set(groups[~arrays.test]) & set(smartwatch.TEST_SUBJECTS)
    for side in (arrays.test, ~arrays.test):
        assert set(np.asarray(arrays.labels)[side]) == set(range(7))


def test_band_power_finds_a_tone() -> None:
    """A sine of 4 Hz has its power in the band of 3 to 5 Hz, and the RMS of a sine."""
    time_s = np.arange(100) / smartwatch.RATE_HZ
    tone = np.zeros((1, 100, 6), dtype=np.float32)
    tone[0, :, 2] = 2.0 * np.sin(2 * np.pi * 4.0 * time_s)
    features, names = smartwatch.spectral(tone)
    row = dict(zip(names, features[0], strict=True))

    bands = {name: value for name, value in row.items() if "acc_z" in name and "Hz" in name}
    assert max(bands, key=lambda name: bands[name]) == "acc_z 3-5Hz"
    assert row["acc_z rms"] == pytest.approx(2.0 / np.sqrt(2.0), rel=1e-3)
