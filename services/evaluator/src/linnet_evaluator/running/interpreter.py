"""Opens a .tflite file with LiteRT and finds its ends; only ever inside a sandbox's child.

LiteRT runs without its default delegate: XNNPACK refuses int8 files that a microcontroller runs,
and its results are further from TensorFlow Lite Micro's than the built-in kernels'.
"""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from ai_edge_litert.interpreter import Interpreter, OpResolverType
from linnet_runtime.errors import InvalidInput

_INT_TYPES = (np.int8, np.uint8, np.int16)
_CLASSIFIERS = ("FULLY_CONNECTED", "CONV_2D", "BATCH_MATMUL")


@dataclass(frozen=True, slots=True)
class Tensor:
    """A model's input or output: index, shape, type, scale (0 for floats) and zero point."""

    index: int
    shape: tuple[int, ...]
    dtype: Any
    scale: float
    zero_point: int

    @classmethod
    def of(cls, details: dict[str, Any]) -> "Tensor":
        """Read LiteRT's description."""
        scale, zero_point = details["quantization"]
        shape = tuple(int(n) for n in details["shape"])
        return cls(int(details["index"]), shape, details["dtype"], float(scale), int(zero_point))


def open_model(model: bytes, *, keep_tensors: bool) -> Interpreter:
    """Open a model; its tensors are not allocated yet.

    Args:
        model: The .tflite file.
        keep_tensors: Whether tensors between layers can be read after a run.

    Raises:
        InvalidInput: LiteRT refuses it (MODEL_REFUSED).
    """
    if not model:
        raise InvalidInput.of(
            "model", "expected a .tflite file, received 0 bytes", reason="MODEL_REFUSED"
        )
    try:
        return Interpreter(
            model_content=model,
            num_threads=1,
            experimental_op_resolver_type=OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
            experimental_preserve_all_tensors=keep_tensors,
        )
    except (ValueError, RuntimeError) as error:
        raise refused(error) from error


def refused(error: Exception) -> InvalidInput:
    """Name an error of LiteRT."""
    return InvalidInput.of(
        "model", f"expected a .tflite file that LiteRT can run: {error}", reason="MODEL_REFUSED"
    )


def find_ends(interpreter: Interpreter, row_values: int) -> tuple[Tensor, Tensor]:
    """Find the one input and the one output, and check that rows of so many values fit.

    Raises:
        InvalidInput: They don't (MODEL_SIGNATURE_MISMATCH).
    """
    inputs, outputs = interpreter.get_input_details(), interpreter.get_output_details()
    if len(inputs) != 1 or len(outputs) != 1:
        raise InvalidInput.of(
            "model",
            f"expected one input and one output, received {len(inputs)} and {len(outputs)}",
            reason="MODEL_SIGNATURE_MISMATCH",
        )
    given, taken = Tensor.of(inputs[0]), Tensor.of(outputs[0])
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


def operators_of(interpreter: Interpreter) -> list[dict[str, Any]]:
    """Give each operator's name (`op_name`) and tensors (`inputs`, `outputs`), in order."""
    operators: list[dict[str, Any]] = interpreter._get_ops_details()  # noqa: SLF001 (LiteRT has no public way)
    return operators


def find_embedding(interpreter: Interpreter, output: int) -> Tensor:
    """Find the input of the classifier: the last layer with weights, walking back from the output.

    Raises:
        InvalidInput: The model ends in no such layer.
    """
    operators = operators_of(interpreter)
    maker = {int(out): op for op in operators for out in op["outputs"]}
    tensor = output
    for _ in operators:
        operator = maker.get(tensor)
        if operator is None:
            break
        tensor = int(operator["inputs"][0])
        if operator["op_name"] in _CLASSIFIERS:
            details = {int(t["index"]): t for t in interpreter.get_tensor_details()}
            return Tensor.of(details[tensor])
    raise InvalidInput.of(
        "model",
        "expected a last layer with weights, received a model without",
        reason="MODEL_WITHOUT_EMBEDDING",
    )
