"""Rows in batches give what rows one by one give."""

from pathlib import Path

import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter, OpResolverType
from linnet_evaluator.running.model_runner import INFERENCE, ModelRunner
from linnet_runtime.sandbox import Limits, Sandbox, SharedBytes

from tests.support.evaluator_process import npy_bytes

MODELS = Path(__file__).parents[2] / "data" / "evaluator"
ROWS = 107


@pytest.fixture(scope="module")
def runner():
    sandbox = Sandbox([INFERENCE])
    yield ModelRunner(sandbox, Limits())
    sandbox.close()


def _values(model: str) -> int:
    return 33 if model == "dense" else 650


def _features(model: str) -> np.ndarray:
    return np.random.default_rng(4).normal(size=(ROWS, _values(model))).astype(np.float32)


def _one_by_one(path: Path, features: np.ndarray) -> np.ndarray:
    interpreter = Interpreter(
        model_path=str(path),
        num_threads=1,
        experimental_op_resolver_type=OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
    )
    interpreter.allocate_tensors()
    given = interpreter.get_input_details()[0]
    rows = features
    scale, zero_point = given["quantization"]
    if scale:
        scaled = rows * np.float32(1 / scale) + np.float32(zero_point)
        rounded = np.trunc(scaled + np.copysign(np.float32(0.5), scaled))
        rows = np.clip(rounded, -128, 127).astype(np.int8)
    scores = []
    for row in rows:
        interpreter.set_tensor(given["index"], row[None])
        interpreter.invoke()
        scores.append(interpreter.get_tensor(interpreter.get_output_details()[0]["index"])[0])
    return np.array(scores)


@pytest.mark.parametrize("variant", ["float32", "int8"])
@pytest.mark.parametrize("model", ["dense", "conv1d", "conv2d"])
def test_batches_give_single_rows_scores(runner, model, variant):
    """Every preset runs in batches, with RESHAPE or not; int8 to the bit, the odd rows included."""
    path = MODELS / f"{model}.{variant}.tflite"
    features = _features(model)
    with SharedBytes(npy_bytes(features)) as shared:
        run = runner.run(path.read_bytes(), shared, field="model")
    assert run.batch_rows == 32
    expected = _one_by_one(path, features)
    if variant == "int8":
        np.testing.assert_array_equal(run.scores.values, expected)
    else:
        np.testing.assert_allclose(run.scores.values, expected, rtol=0, atol=1e-6)


def test_batches_give_single_rows_embeddings(runner):
    """The classifier's inputs of batched rows are those of few rows, which run one by one."""
    features = _features("conv1d")
    model = (MODELS / "conv1d.int8.tflite").read_bytes()
    with SharedBytes(npy_bytes(features)) as shared:
        many = runner.run(model, shared, field="model", embedding=True)
        few = runner.run(model, shared, field="model", rows=np.arange(40), embedding=True)
    assert (many.batch_rows, few.batch_rows) == (32, 1)
    np.testing.assert_array_equal(many.embeddings[:40], few.embeddings)
