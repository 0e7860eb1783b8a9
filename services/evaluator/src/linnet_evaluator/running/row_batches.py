"""Runs many rows at once where that gives what single rows give; only inside a sandbox's child.

Small models spend more time on being called than on computing. A batch is a resized input; where a
RESHAPE holds the batch of one as a constant, that one number is freed in a copy of the file. What
batches give is compared with single rows: int8 to the bit, float32 to the last bits, which
LiteRT's kernels round in another order for many rows.
"""

import numpy as np
from ai_edge_litert.interpreter import Interpreter
from linnet_runtime.errors import InvalidInput
from numpy.typing import NDArray

from linnet_evaluator.running.interpreter import Tensor, open_model, operators_of, refused

BATCH_ROWS = 32
_CHECKED_ROWS = 8
_FLOAT_TOLERANCE = 1e-6
_FREE = -1

Array = NDArray[np.generic]
Results = tuple[Array, Array | None]
"""Scores, (rows, classes), and the embeddings, (rows, values), if asked for."""


class _Runner:
    """One interpreter at one batch size."""

    def __init__(
        self, opened: Interpreter, given: Tensor, rows: int, embedding: int | None
    ) -> None:
        self.interpreter = opened
        self.rows, self._given, self._embedding = rows, given, embedding
        try:
            if rows != 1:
                opened.resize_tensor_input(given.index, [rows, *given.shape[1:]])
            opened.allocate_tensors()
        except (ValueError, RuntimeError) as error:
            raise refused(error) from error
        self._output = int(opened.get_output_details()[0]["index"])

    def run(self, rows: Array) -> Results:
        """Run rows, whose count is the batch size, and copy the results."""
        interpreter = self.interpreter
        try:
            interpreter.set_tensor(self._given.index, rows)
            interpreter.invoke()
        except (ValueError, RuntimeError) as error:
            raise refused(error) from error
        scores = interpreter.get_tensor(self._output).reshape(self.rows, -1)
        if self._embedding is None:
            return scores, None
        return scores, interpreter.get_tensor(self._embedding).reshape(self.rows, -1)


def free_reshapes(model: bytes, interpreter: Interpreter) -> bytes:
    """Let the first axis of constant RESHAPE targets follow the input, in a copy of the file.

    Args:
        model: The file that the interpreter was opened from, and which it still reads.
        interpreter: Its tensors are allocated.
    """
    start = np.frombuffer(model, np.uint8).ctypes.data
    freed = bytearray(model)
    for operator in operators_of(interpreter):
        if operator["op_name"] != "RESHAPE" or len(operator["inputs"]) != 2:  # noqa: PLR2004 (data and shape)
            continue
        shape = interpreter.tensor(int(operator["inputs"][1]))()
        # A constant's values lie in the file itself; anything else lies elsewhere in memory.
        offset = shape.ctypes.data - start
        plain = shape.dtype == np.int32 and shape.ndim == 1 and shape.size and shape[0] == 1
        if plain and shape.min() > 0 and 0 <= offset <= len(model) - shape.nbytes:
            freed[offset : offset + 4] = _FREE.to_bytes(4, "little", signed=True)
    return bytes(freed)


class RowBatches:
    """Runs rows of any number, in batches where that is safe.

    Args:
        model: The .tflite file.
        opened: The file, opened; its tensors are not allocated yet.
        given: The model's input.
        embedding: Tensor to give beside the scores.
    """

    def __init__(
        self, model: bytes, opened: Interpreter, given: Tensor, embedding: int | None
    ) -> None:
        self._model, self._given, self._embedding = model, given, embedding
        self._single = _Runner(opened, given, 1, embedding)
        self._many: _Runner | None = None

    @property
    def batch_rows(self) -> int:
        """Rows that are run at once."""
        return 1 if self._many is None else self._many.rows

    def prepare(self, rows: Array) -> None:
        """Try batches on the first rows; single rows stay where they are few or batches differ."""
        if len(rows) < 2 * BATCH_ROWS:
            return
        try:
            freed = free_reshapes(self._model, self._single.interpreter)
            opened = open_model(freed, keep_tensors=self._embedding is not None)
            many = _Runner(opened, self._given, BATCH_ROWS, self._embedding)
            together = many.run(rows[:BATCH_ROWS])
        except InvalidInput:
            return
        if self._as_single(together, rows[:_CHECKED_ROWS]):
            self._many = many

    def _as_single(self, together: Results, rows: Array) -> bool:
        alone = [self._single.run(row[None]) for row in rows]
        for of_batch, of_rows in zip(together, zip(*alone, strict=True), strict=True):
            if of_batch is not None and not _same(of_batch[: len(rows)], np.concatenate(of_rows)):
                return False
        return True

    def run(self, rows: Array) -> Results:
        """Run rows, shape (rows, *input shape of the model without its batch)."""
        parts = [] if self._many is None else self._batches(self._many, rows)
        done = sum(len(scores) for scores, _ in parts)
        parts += [self._single.run(row[None]) for row in rows[done:]]
        scores = np.concatenate([score for score, _ in parts])
        vectors = [vector for _, vector in parts if vector is not None]
        return scores, np.concatenate(vectors) if vectors else None

    def _batches(self, many: _Runner, rows: Array) -> list[Results]:
        whole = len(rows) // many.rows * many.rows
        starts = range(0, whole, many.rows)
        parts = [many.run(rows[i : i + many.rows]) for i in starts]
        # A file may treat later rows unlike the first ones: each call compares one more.
        if parts and not self._as_single(parts[-1], rows[starts[-1] : starts[-1] + 1]):
            self._many = None
            return []
        return parts


def _same(of_batch: Array, of_rows: Array) -> bool:
    if of_batch.shape != of_rows.shape:
        return False
    if of_batch.dtype.kind in "iu":
        return bool(np.array_equal(of_batch, of_rows))
    return bool(np.allclose(of_batch, of_rows, _FLOAT_TOLERANCE, _FLOAT_TOLERANCE))
