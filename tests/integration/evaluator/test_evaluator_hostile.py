"""Hostile model files and data through the service: a named error in time, and it goes on."""

import struct
import time

import grpc
import numpy as np
import pytest
from linnet_runtime.errors import LinnetError
from linnet_runtime.rpc.status import from_rpc_error

from tests.support.evaluated_run import MODELS
from tests.support.evaluator_process import (
    evaluator,
    npy_bytes,
    npz_bytes,
    push,
    request_of,
    stub_of,
)

GOOD = (MODELS / "dense.int8.tflite").read_bytes()
CLASSES = [f"c{i}" for i in range(7)]
WALL_S = 8.0


@pytest.fixture(scope="module")
def service(location, tmp_path_factory):
    folder = tmp_path_factory.mktemp("evaluator")
    with evaluator(
        location, folder, model_wall_s=str(WALL_S), model_memory_bytes=str(1 << 29)
    ) as endpoints:
        yield endpoints


@pytest.fixture(scope="module")
def files(table):
    return dict(zip(("features.npy", "labels.npy"), table, strict=True))


@pytest.fixture(scope="module")
def dataset(store, files):
    return push(store, "projects/p/datasets/h", {k: npy_bytes(v) for k, v in files.items()})


def _run(store, name: str, model: bytes, split: bytes | None = None):
    rows = np.arange(600)
    split = split or npz_bytes(training=rows[200:], validation=rows[:100], test=rows[100:200])
    return push(store, f"projects/p/runs/{name}", {"model.int8.tflite": model, "split.npz": split})


def _outcome(stub, run, dataset) -> tuple[str, float]:
    """Give OK or the stable reason, and the seconds that it took."""
    begun = time.monotonic()
    try:
        stub.Evaluate(request_of(run, dataset, CLASSES), timeout=60)
        reason = "OK"
    except grpc.RpcError as error:
        known = from_rpc_error(error)
        assert isinstance(known, LinnetError)
        reason = known.reason
    return reason, time.monotonic() - begun


def _serves(stub, store, dataset, name: str) -> None:
    run = _run(store, name, GOOD)
    assert stub.Evaluate(request_of(run, dataset, CLASSES)).evaluation.sets


def _flip(seed: int, count: int) -> bytes:
    data = bytearray(GOOD)
    random = np.random.default_rng(seed)
    for place in random.integers(0, len(data), count):
        data[place] = random.integers(0, 256)
    return bytes(data)


def _huge_offsets(seed: int) -> bytes:
    """Overwrite four aligned words with extreme numbers, as a fuzzer does."""
    data = bytearray(GOOD)
    random = np.random.default_rng(seed)
    for place in random.integers(8, len(data) // 4, 4) * 4:
        word = random.choice([0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 0x40000000])
        struct.pack_into("<I", data, int(place), int(word))
    return bytes(data)


HOSTILE = {
    "empty": b"",
    "one byte": b"\0",
    "text": b"not a model" * 50,
    "random": np.random.default_rng(0).bytes(20_000),
    "magic only": b"\x1c\0\0\0TFL3" + bytes(100),
    "magic and noise": b"\x1c\0\0\0TFL3" + np.random.default_rng(1).bytes(5000),
    "cut at a quarter": GOOD[: len(GOOD) // 4],
    "cut at half": GOOD[: len(GOOD) // 2],
    "cut at the end": GOOD[:-40],
    "doubled": GOOD + GOOD,
    "eight bytes": b"\x08\0\0\0TFL3",
    **{f"flipped {seed}": _flip(seed, 12) for seed in range(12)},
    **{f"offsets {seed}": _huge_offsets(seed) for seed in range(12)},
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_model_ends_in_a_named_error(stub, store, dataset, name):
    """Cut, corrupted, random: scores or a reason that begins with MODEL_ or SCORES_, in time."""
    run = _run(store, name.replace(" ", "-"), HOSTILE[name])
    reason, seconds = _outcome(stub, run, dataset)
    assert reason == "OK" or reason.startswith(("MODEL_", "SCORES_"))
    assert seconds < WALL_S + 10


def test_the_service_goes_on_after_all_of_them(stub, store, dataset):
    """A good model is scored in the same process afterwards."""
    _serves(stub, store, dataset, "after")


def test_a_huge_file_is_refused_before_it_is_read(stub, store, dataset):
    """65 MiB of model: refused by its size."""
    run = _run(store, "huge", bytes(65 << 20))
    assert _outcome(stub, run, dataset)[0] == "TOO_LARGE"


def test_a_model_of_another_shape_names_both(stub, store, dataset):
    """650 values asked for, 33 given: the message has both."""
    run = _run(store, "shape", (MODELS / "conv1d.int8.tflite").read_bytes())
    with pytest.raises(grpc.RpcError) as caught:
        stub.Evaluate(request_of(run, dataset, CLASSES))
    error = from_rpc_error(caught.value)
    assert error.reason == "MODEL_SIGNATURE_MISMATCH"
    assert "33" in error.message
    assert "650" in error.message
    assert "run_files[model.int8.tflite]" in error.message


def test_a_model_of_other_classes_names_both(stub, store, dataset):
    """7 scores a row for 8 classes: the message has both."""
    run = _run(store, "classes", GOOD)
    with pytest.raises(grpc.RpcError) as caught:
        stub.Evaluate(request_of(run, dataset, [*CLASSES, "one more"]))
    error = from_rpc_error(caught.value)
    assert error.reason == "MODEL_SIGNATURE_MISMATCH"
    assert "expected 8 scores a row, received 7" in error.message


def test_a_model_that_takes_too_long_ends_at_its_deadline(
    location, store, dataset, tmp_path_factory
):
    """Past its time a model is ended with a reason of its own, not with the client's patience."""
    folder = tmp_path_factory.mktemp("short")
    with evaluator(location, folder, model_wall_s="0.001") as endpoints, stub_of(endpoints) as stub:
        assert _outcome(stub, _run(store, "late", GOOD), dataset)[0] == "MODEL_DEADLINE_EXCEEDED"


PICKLE = b"\x80\x04\x95\x10\x00\x00\x00\x00\x00\x00\x00\x8c\x05posix\x94."


@pytest.mark.parametrize(
    "case",
    [
        ("features.npy", PICKLE, "PICKLED_NPY"),
        ("features.npy", b"nonsense", "NOT_NPY"),
        ("labels.npy", PICKLE, "PICKLED_NPY"),
        ("labels.npy", npy_bytes(np.full(600, 9)), "LABEL_OUT_OF_RANGE"),
        ("features.npy", npy_bytes(np.full((600, 33), np.nan, np.float32)), "NOT_FINITE"),
        ("samples.npz", b"PK nonsense", "NOT_NPZ"),
    ],
)
def test_hostile_data_is_refused_by_name(stub, store, files, case):
    """Pickles are never loaded; wrong files are named with what is wrong."""
    name, content, reason = case
    whole = {k: npy_bytes(v) for k, v in files.items()} | {name: content}
    data = push(store, f"projects/p/datasets/{reason.lower()}-{name[:3]}", whole)
    with pytest.raises(grpc.RpcError) as caught:
        stub.Evaluate(request_of(_run(store, "data", GOOD), data, CLASSES))
    error = from_rpc_error(caught.value)
    assert error.reason == reason
    assert error.violations[0].field.startswith(name)


@pytest.mark.parametrize(
    "split",
    [
        npz_bytes(training=np.array([0, 600])),
        npz_bytes(training=np.array([-1])),
        npz_bytes(training=np.array([0, 1]), test=np.array([1])),
        npz_bytes(training=np.zeros(0, np.int64)),
        npz_bytes(training=np.array([0.5])),
        b"nonsense",
    ],
    ids=["beyond", "negative", "twice", "nothing", "floats", "no-zip"],
)
def test_a_wrong_split_is_refused(stub, store, dataset, split):
    """Rows that do not exist, on two sides, or none at all."""
    with pytest.raises(grpc.RpcError) as caught:
        stub.Evaluate(request_of(_run(store, "split", GOOD, split), dataset, CLASSES))
    assert from_rpc_error(caught.value).violations[0].field.startswith("split.npz")


def test_a_model_that_gives_nan_names_the_rows(stub, store, dataset):
    """A float file with one NaN weight: the rows of the dataset are named, nothing is scored."""
    from ai_edge_litert.interpreter import Interpreter

    model = (MODELS / "dense.float32.tflite").read_bytes()
    interpreter = Interpreter(model_content=model)
    interpreter.allocate_tensors()
    weights = next(
        interpreter.get_tensor(t["index"]).tobytes()
        for t in interpreter.get_tensor_details()
        if list(t["shape"]) == [7, 10]
    )
    broken = model.replace(weights, np.full(70, np.nan, np.float32).tobytes())
    assert broken != model
    rows = np.arange(600)
    files = {
        "model.float32.tflite": broken,
        "split.npz": npz_bytes(training=rows[200:], validation=rows[7:100]),
    }
    run = push(store, "projects/p/runs/nan", files)
    with pytest.raises(grpc.RpcError) as caught:
        stub.Evaluate(request_of(run, dataset, CLASSES))
    error = from_rpc_error(caught.value)
    assert error.reason == "SCORES_NOT_FINITE"
    assert "93 rows: 7, 8, 9" in error.message
