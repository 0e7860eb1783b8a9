"""Runs model files in the sandbox and gives their scores."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from linnet_ml.scaling import Scaler
from linnet_runtime.errors import InvalidInput
from linnet_runtime.sandbox import Limits, Sandbox, SandboxFailure, SharedBytes
from numpy.typing import NDArray

from linnet_evaluator.scores.probabilities import both_classes

INFERENCE = "linnet_evaluator.running.inference"


@dataclass(frozen=True, slots=True)
class RawScores:
    """A model's output as it came; int8 takes a quarter of the room of floats.

    Attributes:
        values: Shape (rows, classes), float32 or a quantized integer type; two classes may have
            one column, a sigmoid's score of class 1.
        scale: Of quantized values; 0 for floats.
        zero_point: Of quantized values.
    """

    values: NDArray[Any]
    scale: float = 0.0
    zero_point: int = 0

    def floats(self) -> NDArray[np.float32]:
        """Give the scores as numbers in float32, shape (rows, classes)."""
        scores = self.values.astype(np.float32, copy=False)
        if self.scale:
            # Zero point first: then quantized zero is exactly 0, on any scale.
            scores = (scores - np.float32(self.zero_point)) * np.float32(self.scale)
        return both_classes(scores)


@dataclass(frozen=True, slots=True)
class ModelRun:
    """What running a model over rows gave.

    Attributes:
        scores: Of each row.
        embeddings: The classifier's input of each row, float32, (rows, size); None if not asked.
        seconds: Time of the loop over the rows.
        batch_rows: Rows that were run at once.
    """

    scores: RawScores
    embeddings: NDArray[np.float32] | None
    seconds: float
    batch_rows: int


class ModelRunner:
    """Opens each model in a child process of its own.

    Args:
        sandbox: Where children come from; its zygote should have imported `INFERENCE`.
        limits: Of each child.
    """

    def __init__(self, sandbox: Sandbox, limits: Limits) -> None:
        self._sandbox = sandbox
        self._limits = limits

    def run(
        self,
        model: bytes,
        features: SharedBytes,
        *,
        field: str,
        scaler: Scaler | None = None,
        rows: NDArray[np.int64] | None = None,
        class_count: int = 0,
        embedding: bool = False,
    ) -> ModelRun:
        """Score rows.

        Args:
            model: The .tflite file.
            features: The dataset's features.npy.
            field: Name of the model for errors, such as `run_files[model.int8.tflite]`.
            scaler: Scaling ahead of the model.
            rows: Rows to score, in that order; None means every row.
            class_count: Scores that each row must have, or one sigmoid for two; 0 takes any.
            embedding: Whether to give the classifier's input too.

        Raises:
            InvalidInput: The model or the features can't be used; the reason is stable:
                MODEL_REFUSED, MODEL_SIGNATURE_MISMATCH, MODEL_CRASHED_<SIGNAL>,
                MODEL_OUT_OF_MEMORY and others.
            DeadlineExceeded: It took too long (MODEL_DEADLINE_EXCEEDED).
            Unavailable: The sandbox was lost; trying again helps.
        """
        chosen = b"" if rows is None else np.ascontiguousarray(rows, np.int64).tobytes()
        arguments = {
            "scaling": None if scaler is None else scaler.to_dict(),
            "classes": class_count,
            "embedding": embedding,
        }
        with SharedBytes(model) as model_file, SharedBytes(chosen) as rows_file:
            try:
                answer = self._sandbox.run(
                    f"{INFERENCE}:run", arguments, [model_file, features, rows_file], self._limits
                )
            except InvalidInput as error:
                raise _named(error, field) from error
            except SandboxFailure as failure:
                raise InvalidInput.of(field, failure.message, reason=failure.reason) from failure
        told = answer.value
        values = np.frombuffer(answer.outputs[0], np.dtype(str(told["dtype"])))
        embeddings = None
        if embedding:
            vectors = np.frombuffer(answer.outputs[1], np.float32)
            embeddings = vectors.reshape(-1, int(told["embedding_size"]))
        return ModelRun(
            scores=RawScores(
                values.reshape(-1, int(told["columns"])),
                float(told["scale"]),
                int(told["zero_point"]),
            ),
            embeddings=embeddings,
            seconds=float(told["seconds"]),
            batch_rows=int(told["batch_rows"]),
        )


def _named(error: InvalidInput, field: str) -> InvalidInput:
    violations = [
        type(v)(field if v.field == "model" else v.field, v.description) for v in error.violations
    ]
    return InvalidInput(violations, reason=error.reason, metadata=error.metadata)
