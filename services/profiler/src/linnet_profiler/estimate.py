"""The profile of a model that isn't trained yet: from its layer list, without TensorFlow.

The lowering is the exporter's; the tensors are those of the converted model, without values.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from linnet_ml.device_ops import plan
from linnet_ml.device_plan import INPUT
from linnet_ml.layer_fields import with_defaults
from linnet_ml.layers import infer
from linnet_ml.spec import ExportOptions, LayerList, TensorIo

from linnet_profiler.analysis import Analysis
from linnet_profiler.memory.memory_plan import align_up
from linnet_profiler.tflite.model import Model, Operator, Subgraph, Tensor
from linnet_profiler.untrained.converted import converted
from linnet_profiler.untrained.rewriting import Node, Shape

_NO_VALUES: Final = memoryview(b"")
_DEPTHWISE_AXIS: Final = 3
_WEIGHTED: Final = ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED")
# Bytes of the file besides constants: least squares over files of the exporter, off by 30 bytes on
# average. Operators count for less than nothing since each comes with a tensor.
_FILE_BYTES: Final = 176.0
_KIND_BYTES: Final = 27.3
_OPERATOR_BYTES: Final = -32.2
_TENSOR_BYTES: Final = 95.7
_CONSTANT_BYTES: Final = -48.1
_SCALED_BYTES: Final = 30.7
_CHANNEL_BYTES: Final = 12.0
_DIMENSION_BYTES: Final = 6.9
_BUFFER_ALIGNMENT: Final = 16


@dataclass(frozen=True, slots=True)
class Estimates:
    """A layer list's variants before training.

    Attributes:
        float32: The float model.
        int8: The quantized model; None where the export skips it.
    """

    float32: Analysis
    int8: Analysis | None


def estimate(
    layers: LayerList,
    input_shape: tuple[int, ...],
    class_count: int,
    export: ExportOptions | None = None,
) -> Estimates:
    """Analyse what a layer list will be converted to.

    Args:
        layers: The layers; defaults need not be filled in.
        input_shape: Shape of one row: one to three axes.
        class_count: Units of the implied output.
        export: What is exported; the product's defaults where it is left out.

    Raises:
        InvalidInput: A layer does not fit.
    """
    options = export or ExportOptions()
    # With the disabled layers among them, so that a refusal counts places as the caller does.
    infer(layers, input_shape, class_count)
    enabled = tuple(with_defaults(layer) for layer in layers.layers if layer.enabled is not False)
    lowered = plan(LayerList(enabled), input_shape, class_count)
    nodes = converted(lowered)
    int8 = None
    if not options.skip_int8:
        writer = _Int8(
            float_io=options.int8_io is TensorIo.FLOAT32, per_tensor_dense=options.per_tensor_dense
        )
        int8 = Analysis(writer.model(nodes, lowered.input_shape))
    return Estimates(Analysis(_Float().model(nodes, lowered.input_shape)), int8)


class _Float:
    """Writes nodes as the tensors and operators of a float32 model."""

    dtype = "FLOAT32"

    def __init__(self) -> None:
        self.tensors: list[Tensor] = []
        self.operators: list[Operator] = []

    def model(self, nodes: tuple[Node, ...], input_shape: Shape) -> Model:
        """The model of nodes in order."""
        outside = self.tensor(input_shape, self.outer_dtype)
        entry = self.enter(outside)
        constants = [self.constants(node) if node.shares == INPUT else () for node in nodes]
        results: list[int] = []
        for place, node in enumerate(nodes):
            own = constants[place]
            if node.shares != INPUT:
                own = self.shared(constants[node.shares])
            sources = tuple(entry if at == INPUT else results[at] for at in node.sources)
            left_out = (-1,) if node.name in _WEIGHTED and len(own) == 1 else ()
            results.append(self.tensor(node.shape, self.dtype))
            self.operator(node, (*sources, *own, *left_out), results[-1])
        last = self.leave(results[-1], nodes[-1].shape)
        graph = Subgraph(0, "", tuple(self.tensors), (outside,), (last,), tuple(self.operators))
        return Model(self.file_bytes(), "", (graph,), None)

    @property
    def outer_dtype(self) -> str:
        """Element type of the model's input and output."""
        return self.dtype

    def enter(self, outside: int) -> int:
        """The tensor that the first operator reads."""
        return outside

    def leave(self, result: int, _shape: Shape) -> int:
        """The model's output."""
        return result

    def tensor(
        self, shape: Shape, dtype: str, *, constant: bool = False, scales: int = 0, axis: int = 0
    ) -> int:
        """Add a tensor."""
        made = Tensor(
            index=len(self.tensors),
            name="",
            shape=shape,
            dtype=dtype,
            element_bits=8 if dtype == "INT8" else 32,
            data=_NO_VALUES if constant else None,
            scales=(1.0,) * scales,
            zero_points=(0,) * scales,
            quantized_dimension=axis,
            is_variable=False,
        )
        self.tensors.append(made)
        return made.index

    def operator(self, node: Node, inputs: tuple[int, ...], output: int) -> None:
        """Add an operator."""
        self.operators.append(
            Operator(
                index=len(self.operators),
                name=node.name,
                custom_code="",
                version=1,
                inputs=inputs,
                outputs=(output,),
                options=node.options,
            )
        )

    def constants(self, node: Node) -> tuple[int, ...]:
        """Add a node's constants."""
        if node.name == "RESHAPE":
            return (self.tensor((len(node.shape),), "INT32", constant=True),)
        return tuple(self.tensor(shape, self.dtype, constant=True) for shape in node.constants)

    def shared(self, constants: tuple[int, ...]) -> tuple[int, ...]:
        """The constants of a dense layer that was doubled, for its double."""
        return constants

    def file_bytes(self) -> int:
        """About how long the file will be."""
        kinds = len({operator.name for operator in self.operators})
        total = _FILE_BYTES + _KIND_BYTES * kinds + _OPERATOR_BYTES * len(self.operators)
        for tensor in self.tensors:
            channels = len(tensor.scales)
            total += _TENSOR_BYTES + _DIMENSION_BYTES * len(tensor.shape)
            total += _SCALED_BYTES if channels else 0.0
            total += _CHANNEL_BYTES * channels if channels > 1 else 0.0
            if tensor.is_constant:
                total += _CONSTANT_BYTES + align_up(tensor.size_bytes, _BUFFER_ALIGNMENT)
        return round(total)


class _Int8(_Float):
    """Writes nodes as the tensors and operators of a quantized model."""

    dtype = "INT8"

    def __init__(self, *, float_io: bool, per_tensor_dense: bool) -> None:
        super().__init__()
        self._float_io = float_io
        self._per_tensor_dense = per_tensor_dense

    @property
    def outer_dtype(self) -> str:
        """Element type of the model's input and output."""
        return "FLOAT32" if self._float_io else self.dtype

    def tensor(
        self, shape: Shape, dtype: str, *, constant: bool = False, scales: int = 0, axis: int = 0
    ) -> int:
        """Add a tensor; every int8 tensor has at least one scale."""
        least = 1 if dtype == self.dtype else 0
        return super().tensor(shape, dtype, constant=constant, scales=max(scales, least), axis=axis)

    def enter(self, outside: int) -> int:
        """The tensor that the first operator reads."""
        if not self._float_io:
            return outside
        inside = self.tensor(self.tensors[outside].shape, self.dtype)
        self.operator(Node("QUANTIZE", (), ()), (outside,), inside)
        return inside

    def leave(self, result: int, shape: Shape) -> int:
        """The model's output."""
        if not self._float_io:
            return result
        outside = self.tensor(shape, "FLOAT32")
        self.operator(Node("DEQUANTIZE", (), ()), (result,), outside)
        return outside

    def constants(self, node: Node) -> tuple[int, ...]:
        """Add a node's constants: weights by channel, biases in 32 bits."""
        if node.name not in _WEIGHTED:
            return super().constants(node)
        kernel = node.constants[0]
        depthwise = node.name == "DEPTHWISE_CONV_2D"
        axis = _DEPTHWISE_AXIS if depthwise else 0
        whole = node.name == "FULLY_CONNECTED" and self._per_tensor_dense
        scales = 1 if whole else kernel[axis]
        weights = self.tensor(kernel, self.dtype, constant=True, scales=scales, axis=axis)
        biases = (
            self.tensor(shape, "INT32", constant=True, scales=scales)
            for shape in node.constants[1:]
        )
        return (weights, *biases)

    def shared(self, constants: tuple[int, ...]) -> tuple[int, ...]:
        """The constants of a dense layer that was doubled, for its double: biases are its own."""
        weights, *biases = constants
        own = (self.tensors[at] for at in biases)
        copies = (
            self.tensor(bias.shape, bias.dtype, constant=True, scales=len(bias.scales))
            for bias in own
        )
        return (weights, *copies)
