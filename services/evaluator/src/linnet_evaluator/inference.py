"""Runs a .tflite file over rows with LiteRT; only ever inside a sandbox's child.

LiteRT runs without its default delegate: XNNPACK refuses int8 files that a microcontroller runs,
and its results are further from TensorFlow Lite Micro's than the built-in kernels'.
"""

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from ai_edge_litert.interpreter import Interpreter, OpResolverType
from linnet_ml.scaling import Scaler
from linnet_runtime.errors import InvalidInput
from numpy.typing import NDArray

from linnet_evaluator.features import features_view

BATCH_ROWS = 32
_CHECKED_ROWS = 8
_CHUNK_ROWS = 4096
_INT_TYPES = (np.int8, np.uint8, np.int16)
_CLASSIFIERS = ("FULLY_CONNECTED", "CONV_2D", "BATCH_MATMUL")


@dataclass(frozen=True, slots=True)
class _Tensor:
    """A model's input or output: index, shape, type, scale (0 for floats) and zero point."""

    index: int
    shape: tuple[int, ...]
    dtype: Any
    scale: float
    zero_point: int

    @classmethod
    def of(cls, details: dict[str, Any]) -> "_Tensor":
        scale, zero_point = details["quantization"]
        shape = tuple(int(n) for n in details["shape"])
        return cls(int(details["index"]), shape, details["dtype"], float(scale), int(zero_point))


def _open(model: bytes, *, keep_tensors: bool) -> Interpreter:
    try:
        return Interpreter(
            model_content=model,
            num_threads=1,
            experimental_op_resolver_type=OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
            experimental_preserve_all_tensors=keep_tensors,
        )
    except (ValueError, RuntimeError) as error:
        raise _refused(error) from error


def _refused(error: Exception) -> InvalidInput:
    return InvalidInput.of(
        "model", f"expected a .tflite file that LiteRT can run: {error}", reason="MODEL_REFUSED"
    )


def _ends(interpreter: Interpreter, row_values: int) -> tuple[_Tensor, _Tensor]:
    """Find the one input and the one output, and check that they fit."""
    inputs, outputs = interpreter.get_input_details(), interpreter.get_output_details()
    if len(inputs) != 1 or len(outputs) != 1:
        raise InvalidInput.of(
            "model",
            f"expected one input and one output, received {len(inputs)} and {len(outputs)}",
            reason="MODEL_SIGNATURE_MISMATCH",
        )
    given, taken = _Tensor.of(inputs[0]), _Tensor.of(outputs[0])
    if not given.shape or given.shape[0] != 1 or math.prod(given.shape) != row_values:
        raise InvalidInput.of(
            "model",
            f"expected an input of one row of {row_values} values, received shape {given.shape}",
            reason="MODEL_SIGNATURE_MISMATCH",
        )
    for tensor in (given, taken):
        if tensor.dtype not in {np.float32, *_INT_TYPES} or (
            tensor.dtype in _INT_TYPES and not tensor.scale
        ):
            raise InvalidInput.of(
                "model",
                "expected float32 or quantized int8, uint8 or int16 input and output, received "
                f"{np.dtype(tensor.dtype).name} with scale {tensor.scale}",
                reason="MODEL_SIGNATURE_MISMATCH",
            )
    return given, taken


def _prepare(features: NDArray[Any], scaler: Scaler | None, given: _Tensor) -> NDArray[Any]:
    """Scale and quantize rows as the firmware does, shape (rows, *input shape of the model)."""
    rows = features.astype(np.float32)
    if given.dtype == np.float32:
        if scaler is not None:
            rows = scaler.apply(rows)
    else:
        if scaler is None:
            multiplier = np.asarray([1 / given.scale], dtype=np.float32)
            addend = np.asarray([given.zero_point], dtype=np.float32)
        else:
            multiplier, addend = scaler.merged(given.scale, given.zero_point)
        rows *= multiplier
        rows += addend
        limits = np.iinfo(given.dtype)
        rounded = np.trunc(rows + np.copysign(np.float32(0.5), rows))
        rows = np.clip(rounded, limits.min, limits.max).astype(given.dtype)
    return rows.reshape(len(features), *given.shape[1:])


def _embedding_tensor(interpreter: Interpreter, output: int) -> _Tensor:
    """Find the input of the classifier: the last layer with weights, walking back from the output.

    Raises:
        InvalidInput: The model ends in no such layer.
    """
    operators = interpreter._get_ops_details()  # noqa: SLF001 (LiteRT has no public way)
    maker = {int(out): op for op in operators for out in op["outputs"]}
    tensor = output
    for _ in operators:
        operator = maker.get(tensor)
        if operator is None:
            break
        tensor = int(operator["inputs"][0])
        if operator["op_name"] in _CLASSIFIERS:
            details = {int(t["index"]): t for t in interpreter.get_tensor_details()}
            return _Tensor.of(details[tensor])
    raise InvalidInput.of(
        "model",
        "expected a last layer with weights, received a model without",
        reason="MODEL_WITHOUT_EMBEDDING",
    )


class _Runner:
    """One interpreter at one batch size."""

    def __init__(self, model: bytes, given: _Tensor, rows: int, embedding: int | None) -> None:
        self._interpreter = _open(model, keep_tensors=embedding is not None)
        self._rows, self._given, self._embedding = rows, given, embedding
        try:
            if rows != 1:
                self._interpreter.resize_tensor_input(given.index, [rows, *given.shape[1:]])
            self._interpreter.allocate_tensors()
        except (ValueError, RuntimeError) as error:
            raise _refused(error) from error
        self._output = int(self._interpreter.get_output_details()[0]["index"])

    def run(self, rows: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any] | None]:
        """Run rows, whose count is the batch size, and copy the results."""
        interpreter = self._interpreter
        try:
            interpreter.set_tensor(self._given.index, rows)
            interpreter.invoke()
        except (ValueError, RuntimeError) as error:
            raise _refused(error) from error
        scores = interpreter.get_tensor(self._output).reshape(self._rows, -1)
        if self._embedding is None:
            return scores, None
        return scores, interpreter.get_tensor(self._embedding).reshape(self._rows, -1)


def _batched(model: bytes, given: _Tensor, embedding: int | None, rows: NDArray[Any]) -> _Runner:
    """Make a runner of many rows at once where it gives what single rows give, else of one."""
    single = _Runner(model, given, 1, embedding)
    if len(rows) < 2 * BATCH_ROWS:
        return single
    try:
        many = _Runner(model, given, BATCH_ROWS, embedding)
        together = many.run(rows[:BATCH_ROWS])[0]
    except InvalidInput:
        return single
    alone = np.concatenate([single.run(row[None])[0] for row in rows[:_CHECKED_ROWS]])
    if together.shape[1] != alone.shape[1] or not np.allclose(
        together[:_CHECKED_ROWS].astype(np.float32), alone.astype(np.float32), 1e-5, 1e-6
    ):
        return single
    return many


def _size(runner: _Runner) -> int:
    return runner._rows  # noqa: SLF001 (same module)


def _in_batches(
    many: _Runner, single: _Runner, rows: NDArray[Any]
) -> tuple[list[NDArray[Any]], list[NDArray[Any]]]:
    scores, embeddings = [], []
    step = _size(many)
    whole = len(rows) // step * step
    parts = [(many, rows[i : i + step]) for i in range(0, whole, step)]
    parts += [(single, row[None]) for row in rows[whole:]]
    for runner, part in parts:
        score, embedding = runner.run(part)
        scores.append(score)
        if embedding is not None:
            embeddings.append(embedding)
    return scores, embeddings


def run(
    arguments: dict[str, Any], inputs: Sequence[memoryview]
) -> tuple[dict[str, Any], list[memoryview]]:
    """Score rows with a model.

    Args:
        arguments: `scaling` (as a manifest stores it, or None), `classes` (columns of the output;
            0 takes any) and `embedding` (whether to give the classifier's input too).
        inputs: The .tflite file; features.npy; row indices as int64 bytes, empty for every row.

    Returns:
        `dtype`, `scale` and `zero_point` of the scores, `classes`, `embedding_size`, `batch_rows`
        and `seconds` of the loop; then the raw scores, (rows, classes), and, if asked for, the
        embeddings as float32, (rows, embedding_size).

    Raises:
        InvalidInput: LiteRT refuses the model, or its input or output does not fit the data.
    """
    model, chosen = bytes(inputs[0]), np.frombuffer(inputs[2], np.int64)
    features = features_view(inputs[1])
    scaler = Scaler.from_dict(arguments["scaling"]) if arguments["scaling"] else None
    if scaler is not None and not scaler.offset.size:
        scaler = None
    rows = chosen if chosen.size else np.arange(len(features))
    probe = _open(model, keep_tensors=False)
    given, taken = _ends(probe, math.prod(features.shape[1:]))
    embedding = _embedding_tensor(probe, taken.index) if arguments["embedding"] else None
    wanted = None if embedding is None else embedding.index
    begun = time.perf_counter()
    first = _prepare(features[rows[:_CHUNK_ROWS]], scaler, given)
    many = _batched(model, given, wanted, first)
    single = many if _size(many) == 1 else _Runner(model, given, 1, wanted)
    scores: list[NDArray[Any]] = []
    embeddings: list[NDArray[Any]] = []
    for start in range(0, len(rows), _CHUNK_ROWS):
        part = rows[start : start + _CHUNK_ROWS]
        ready = first if start == 0 else _prepare(features[part], scaler, given)
        more = _in_batches(many, single, ready)
        scores += more[0]
        embeddings += more[1]
    seconds = time.perf_counter() - begun
    table = np.ascontiguousarray(np.concatenate(scores))
    if arguments["classes"] and table.shape[1] != arguments["classes"]:
        raise InvalidInput.of(
            "model",
            f"expected {arguments['classes']} scores a row, received {table.shape[1]}",
            reason="MODEL_SIGNATURE_MISMATCH",
        )
    outputs = [table.data]
    size = 0
    if embedding is not None:
        vectors = np.concatenate(embeddings).astype(np.float32)
        if embedding.scale:
            vectors = (vectors - embedding.zero_point) * np.float32(embedding.scale)
        size = vectors.shape[1]
        outputs.append(np.ascontiguousarray(vectors).data)
    described = {
        "dtype": table.dtype.name,
        "scale": taken.scale,
        "zero_point": taken.zero_point,
        "classes": int(table.shape[1]),
        "embedding_size": size,
        "batch_rows": _size(many),
        "seconds": seconds,
    }
    return described, outputs
