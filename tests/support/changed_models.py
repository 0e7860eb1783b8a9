"""Model files changed in one place, so that TFLite Micro refuses them or dies of them."""

from collections.abc import Callable
from typing import Any

import flatbuffers
from tflite_micro.tensorflow.lite.micro.python import schema_py_generated as schema


def _changed(data: bytes, change: Callable[[Any], None]) -> bytes:
    model = schema.ModelT.InitFromPackedBuf(data, 0)
    change(model)
    builder = flatbuffers.Builder(1 << 16)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def with_gelu(data: bytes) -> bytes:
    """The same file with its softmax made an operator that TFLite Micro lacks."""

    def change(model: Any) -> None:
        codes = model.operatorCodes
        code = next(c for c in codes if c.builtinCode == schema.BuiltinOperator.SOFTMAX)
        code.builtinCode, code.deprecatedBuiltinCode = schema.BuiltinOperator.GELU, 127

    return _changed(data, change)


def with_dead_softmax(data: bytes) -> bytes:
    """The same int8 file with a softmax input so small that TFLite Micro aborts its process."""

    def change(model: Any) -> None:
        graph = model.subgraphs[0]
        codes = [code.builtinCode for code in model.operatorCodes]
        softmax = next(
            operator
            for operator in graph.operators
            if codes[operator.opcodeIndex] == schema.BuiltinOperator.SOFTMAX
        )
        graph.tensors[softmax.inputs[0]].quantization.scale = [1e-9]

    return _changed(data, change)
