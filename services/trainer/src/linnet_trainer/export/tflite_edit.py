"""Edits a converted .tflite for the device: what no interpreter needs goes, nothing else changes.

Metadata, signatures and names are dropped, equal buffers shared, and a RESHAPE that only feeds
FULLY_CONNECTED is taken out, since that operator flattens by itself in LiteRT and in TFLite Micro.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
from tensorflow.lite.python import schema_py_generated as schema
from tensorflow.lite.tools import flatbuffer_utils


def for_device(model: bytes) -> bytes:
    """Give the same model without what a device does not need; scores stay the same bits."""
    parsed = flatbuffer_utils.convert_bytearray_to_object(bytearray(model))
    for graph in parsed.subgraphs:
        _drop_reshapes(graph, parsed)
    _drop_texts(parsed)
    for graph in parsed.subgraphs:
        _drop_tensors(graph)
    _share_buffers(parsed)
    _drop_opcodes(parsed)
    return bytes(flatbuffer_utils.convert_object_to_bytearray(parsed))


def reshaped_input(model: bytes) -> bytes:
    """Give the input the shape that a reshape at the start gives it, the same bytes in a row.

    The reshape may come after the quantization of a float input; one that is not the only reader
    stays.
    """
    parsed = flatbuffer_utils.convert_bytearray_to_object(bytearray(model))
    graph = parsed.subgraphs[0]
    path = [int(graph.inputs[0])]
    reader = _only_reader(graph, path[0])
    if reader is not None and _code(parsed, reader) == schema.BuiltinOperator.QUANTIZE:
        path.append(int(reader.outputs[0]))
        reader = _only_reader(graph, path[1])
    if reader is None or _code(parsed, reader) != schema.BuiltinOperator.RESHAPE:
        return model
    after = int(reader.outputs[0])
    if after in [int(t) for t in graph.outputs]:
        return model
    for tensor in path:
        graph.tensors[tensor].shape = graph.tensors[after].shape
        graph.tensors[tensor].shapeSignature = None
    for operator in graph.operators:
        operator.inputs = np.array(
            [path[-1] if int(i) == after else int(i) for i in operator.inputs], dtype=np.int32
        )
    graph.operators.remove(reader)
    _drop_tensors(graph)
    _share_buffers(parsed)
    _drop_opcodes(parsed)
    return bytes(flatbuffer_utils.convert_object_to_bytearray(parsed))


def _only_reader(graph: Any, tensor: int) -> Any:
    readers = [o for o in graph.operators if tensor in [int(i) for i in o.inputs]]
    outputs = [int(t) for t in graph.outputs]
    return readers[0] if len(readers) == 1 and tensor not in outputs else None


def operator_names(model: bytes) -> list[str]:
    """Name the operators of a model in order of execution, such as CONV_2D."""
    parsed = flatbuffer_utils.convert_bytearray_to_object(bytearray(model))
    words = {v: k for k, v in vars(schema.BuiltinOperator).items() if not k.startswith("_")}
    return [
        words[_code(parsed, operator)] for graph in parsed.subgraphs for operator in graph.operators
    ]


def tensor_facts(model: bytes) -> dict[str, Any]:
    """Describe input and output of a model: type, shape, scale and zero point, and operators."""
    parsed = flatbuffer_utils.convert_bytearray_to_object(bytearray(model))
    graph = parsed.subgraphs[0]
    return {
        "input": _tensor(graph.tensors[int(graph.inputs[0])]),
        "output": _tensor(graph.tensors[int(graph.outputs[0])]),
        "operators": operator_names(model),
    }


def _tensor(tensor: Any) -> dict[str, Any]:
    facts: dict[str, Any] = {
        "type": flatbuffer_utils.type_to_name(tensor.type).lower(),
        "shape": [int(size) for size in tensor.shape],
    }
    quantization = tensor.quantization
    if quantization is not None and quantization.scale is not None and len(quantization.scale):
        facts["scale"] = float(quantization.scale[0])
        facts["zero_point"] = int(quantization.zeroPoint[0])
    return facts


def _code(parsed: Any, operator: Any) -> int:
    code = parsed.operatorCodes[operator.opcodeIndex]
    return int(max(code.builtinCode, code.deprecatedBuiltinCode))


def _drop_reshapes(graph: Any, parsed: Any) -> None:
    dense = schema.BuiltinOperator.FULLY_CONNECTED
    outputs = {int(t) for t in graph.outputs}
    for operator in list(graph.operators):
        if _code(parsed, operator) != schema.BuiltinOperator.RESHAPE:
            continue
        before, after = int(operator.inputs[0]), int(operator.outputs[0])
        readers = [o for o in graph.operators if after in [int(i) for i in o.inputs]]
        flattens = all(
            _code(parsed, reader) == dense
            and int(reader.inputs[0]) == after
            and not reader.builtinOptions.keepNumDims
            for reader in readers
        )
        if not readers or not flattens or after in outputs:
            continue
        for reader in readers:
            reader.inputs = np.array([before, *list(reader.inputs)[1:]], dtype=np.int32)
        graph.operators.remove(operator)


def _drop_texts(parsed: Any) -> None:
    parsed.description = None
    parsed.metadata = None
    parsed.metadataBuffer = None
    parsed.signatureDefs = None
    for graph in parsed.subgraphs:
        graph.name = None
        for tensor in graph.tensors:
            tensor.name = None


def _indices(graph: Any) -> Iterator[int]:
    yield from (int(i) for i in graph.inputs)
    for operator in graph.operators:
        yield from (int(i) for i in operator.inputs)
        yield from (int(i) for i in operator.outputs)
    yield from (int(i) for i in graph.outputs)


def _drop_tensors(graph: Any) -> None:
    used = sorted({index for index in _indices(graph) if index >= 0})
    moved = {old: new for new, old in enumerate(used)} | {-1: -1}
    graph.tensors = [graph.tensors[index] for index in used]

    def renumbered(items: Any) -> Any:
        return np.array([moved[int(i)] for i in items], dtype=np.int32)

    graph.inputs, graph.outputs = renumbered(graph.inputs), renumbered(graph.outputs)
    for operator in graph.operators:
        operator.inputs = renumbered(operator.inputs)
        operator.outputs = renumbered(operator.outputs)
        operator.intermediates = None


def _share_buffers(parsed: Any) -> None:
    """Keep one buffer of each content; the first is empty, as the format wants it."""
    empty = schema.BufferT()
    kept, known = [empty], {b"": 0}
    for graph in parsed.subgraphs:
        for tensor in graph.tensors:
            data = parsed.buffers[tensor.buffer].data
            content = b"" if data is None else bytes(data)
            if content not in known:
                known[content] = len(kept)
                kept.append(parsed.buffers[tensor.buffer])
            tensor.buffer = known[content]
    parsed.buffers = kept


def _drop_opcodes(parsed: Any) -> None:
    used = sorted({op.opcodeIndex for graph in parsed.subgraphs for op in graph.operators})
    parsed.operatorCodes = [parsed.operatorCodes[index] for index in used]
    for graph in parsed.subgraphs:
        for operator in graph.operators:
            operator.opcodeIndex = used.index(operator.opcodeIndex)
