"""Files of the largest counts and dimensions that a reader lets through."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import flatbuffers
import numpy as np
from tflite_micro.tensorflow.lite.micro.python import schema_py_generated as schema

INT8, INT32, FLOAT32 = schema.TensorType.INT8, schema.TensorType.INT32, schema.TensorType.FLOAT32


@dataclass(frozen=True)
class Written:
    """One tensor to write; without bytes it is computed at run time."""

    shape: tuple[int, ...]
    dtype: int = INT8
    data: bytes | None = None


def operator(inputs: list[int], outputs: list[int], options: Any = None, code: int = 0) -> Any:
    """One operator; its options' class names their kind."""
    made = schema.OperatorT()
    made.opcodeIndex, made.inputs, made.outputs = code, inputs, outputs
    if options is not None:
        made.builtinOptions = options
        kind = type(options).__name__.removesuffix("T")
        made.builtinOptionsType = getattr(schema.BuiltinOptions, kind)
    return made


def written(
    codes: list[str], tensors: list[Written], operators: list[Any], inputs: list[int]
) -> bytes:
    """A .tflite file of one subgraph, its last operator's outputs the model's."""
    model = schema.ModelT()
    model.version = 3
    model.operatorCodes = []
    for name in codes:
        code = schema.OperatorCodeT()
        code.builtinCode = getattr(schema.BuiltinOperator, name)
        code.deprecatedBuiltinCode = min(127, code.builtinCode)
        code.version = 1
        model.operatorCodes.append(code)
    empty = schema.BufferT()
    model.buffers = [empty]
    graph = schema.SubGraphT()
    graph.tensors = []
    known: dict[bytes, int] = {}
    for entry in tensors:
        tensor = schema.TensorT()
        tensor.shape, tensor.type, tensor.buffer = list(entry.shape), entry.dtype, 0
        if entry.data is not None:
            if entry.data not in known:
                buffer = schema.BufferT()
                buffer.data = np.frombuffer(entry.data, np.uint8)
                known[entry.data] = len(model.buffers)
                model.buffers.append(buffer)
            tensor.buffer = known[entry.data]
        if entry.dtype == INT8:
            quantization = schema.QuantizationParametersT()
            quantization.scale, quantization.zeroPoint = [0.5], [0]
            tensor.quantization = quantization
        graph.tensors.append(tensor)
    graph.inputs, graph.outputs = inputs, list(operators[-1].outputs)
    graph.operators = operators
    model.subgraphs = [graph]
    builder = flatbuffers.Builder(1 << 20)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def _window(options: Any, stride: tuple[int, int], padding: int = schema.Padding.SAME) -> Any:
    options.padding = padding
    options.strideH, options.strideW = stride
    return options


def _pool(height: int, width: int, stride: tuple[int, int]) -> Any:
    options = _window(schema.Pool2DOptionsT(), stride)
    options.filterHeight, options.filterWidth = height, width
    return options


def huge_pools(count: int) -> bytes:
    """Pools of windows as long as the longest image, one after another."""
    shape = (1, 1, 65_536, 3)
    operators = [
        operator([at], [at + 1], _pool(1, 65_536 - at, (1, 1)), at % 2) for at in range(count)
    ]
    tensors = [Written(shape)] * (count + 1)
    return written(["MAX_POOL_2D", "AVERAGE_POOL_2D"], tensors, operators, [0])


def huge_convolutions(count: int) -> bytes:
    """Convolutions with windows of 65,536 taps over images as long, one weight for all."""
    weights = bytes(65_536 * 3)
    tensors = [Written((1, 1, 65_536, 3), data=weights), Written((1,), INT32, b"\0" * 4)]
    operators = []
    for at in range(count):
        tensors.append(Written((1, 1, 65_000 + at % 500, 3 if at % 3 == 0 else 1)))
        options = _window(schema.Conv2DOptionsT(), (1, 1 + at % 2))
        options.dilationHFactor, options.dilationWFactor = 1, 1 + at % 3
        operators.append(operator([at + 2, 0, 1], [at + 3], options))
    tensors.append(Written((1, 1, 65_536, 1)))
    return written(["CONV_2D"], tensors, operators, [2])


def huge_depthwise(count: int) -> bytes:
    """Depthwise convolutions over images of four million pixels with odd paddings."""
    tensors = [Written((1, 3, 3, 3), data=bytes(27)), Written((3,), INT32, b"\0" * 12)]
    operators = []
    for at in range(count):
        tensors.append(Written((1, 2_048, 2_047, 3)))
        options = _window(schema.DepthwiseConv2DOptionsT(), (1, 1))
        options.depthMultiplier, options.dilationHFactor, options.dilationWFactor = 1, 1, 1
        operators.append(operator([at + 2, 0, 1], [at + 3], options))
    tensors.append(Written((1, 2_048, 2_047, 3)))
    return written(["DEPTHWISE_CONV_2D"], tensors, operators, [2])


def wide_depthwise(count: int) -> bytes:
    """Depthwise convolutions over as many channels as 64 MiB of shared weights allow."""
    channels = 4 << 20
    tensors = [
        Written((1, 2, 2, channels), data=bytes(4 * channels)),
        Written((channels,), INT32, bytes(4 * channels)),
    ]
    operators = []
    for at in range(count):
        tensors.append(Written((1, 2, 2, channels)))
        options = _window(schema.DepthwiseConv2DOptionsT(), (1, 1))
        options.depthMultiplier, options.dilationHFactor, options.dilationWFactor = 1, 1, 1
        operators.append(operator([at + 2, 0, 1], [at + 3], options))
    tensors.append(Written((1, 2, 2, channels)))
    return written(["DEPTHWISE_CONV_2D"], tensors, operators, [2])


def huge_transposed(count: int) -> bytes:
    """Transposed convolutions of long images and windows."""
    tensors = [
        Written((1, 1, 65_536, 3), data=bytes(65_536 * 3)),
        Written((4,), INT32, b"".join(size.to_bytes(4, "little") for size in (1, 1, 65_536, 1))),
    ]
    operators = []
    for at in range(count):
        tensors.append(Written((1, 60_000, 1, 3)))
        options = _window(schema.TransposeConvOptionsT(), (3, 3))
        operators.append(operator([1, 0, at + 2], [at + 3], options))
    tensors.append(Written((1, 60_000, 1, 3)))
    return written(["TRANSPOSE_CONV"], tensors, operators, [2])


def long_chain(count: int) -> bytes:
    """Activations of values that went through every operator before."""
    tensors = [Written((1, 64), FLOAT32)] * (count + 1)
    operators = [operator([at], [at + 1], code=at % 2) for at in range(count)]
    return written(["LEAKY_RELU", "ELU"], tensors, operators, [0])


def all_alive(count: int) -> bytes:
    """As many tensors and scratch buffers as may be, all of different sizes and alive at once."""
    operators, tensors = [], [Written((1, 4, 4, 3))]
    for at in range(count):
        tensors += [Written((1, 1 + at % 7, 1 + at, 3)), Written((2,), INT32, b"\1\0\0\0\2\0\0\0")]
        operators.append(operator([0, 2 + 2 * at], [1 + 2 * at], schema.ReducerOptionsT(), 0))
    places = [1 + 2 * at for at in range(count)]
    tensors.append(Written((1, 4)))
    operators.append(operator(places, [len(tensors) - 1], schema.ConcatenationOptionsT(), 1))
    return written(["MEAN", "CONCATENATION"], tensors, operators, [0])


def shared_bias(count: int) -> bytes:
    """Float layers of which every bias is the same sixteen million numbers."""
    tensors = [Written((1, 1), FLOAT32), Written((1, 1), FLOAT32, bytes(4))]
    bias = bytes(4 << 20)
    operators = []
    for at in range(count):
        tensors += [Written((1 << 20,), FLOAT32, bias), Written((1, 1), FLOAT32)]
        source = 0 if at == 0 else 2 * at + 1
        options = schema.FullyConnectedOptionsT()
        operators.append(operator([source, 1, 2 + 2 * at], [3 + 2 * at], options))
    return written(["FULLY_CONNECTED"], tensors, operators, [0])


MOST = 4_095
HOSTILE: dict[str, Callable[[], bytes]] = {
    "pools": lambda: huge_pools(MOST),
    "convolutions": lambda: huge_convolutions(MOST),
    "depthwise": lambda: huge_depthwise(MOST),
    "channels": lambda: wide_depthwise(64),
    "transposed": lambda: huge_transposed(MOST),
    "chain": lambda: long_chain(MOST),
    "alive": lambda: all_alive(MOST),
    "biases": lambda: shared_bias(MOST // 2),
}
