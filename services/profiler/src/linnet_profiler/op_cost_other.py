"""What the operators without windows count: elements, rows, copies, index carries."""

from __future__ import annotations

from collections.abc import Callable
from math import prod
from typing import Final

from linnet_profiler.kernel_sets import KernelSet
from linnet_profiler.model import Operator, Subgraph, Tensor

Terms = dict[str, float]
Counted = tuple[str, Terms]


def elements_of(tensor: Tensor | None) -> int:
    """Elements of a tensor, 0 where it is left out."""
    return 0 if tensor is None else tensor.elements


def _elementwise(graph: Subgraph, operator: Operator, kernels: KernelSet) -> Counted:
    return "elements", {"elements": elements_of(graph.output(operator)), "calls": 1}


def _softmax(graph: Subgraph, operator: Operator, kernels: KernelSet) -> Counted:
    image = graph.input(operator, 0)
    elements = elements_of(image)
    depth = image.shape[-1] if image is not None and image.shape else 1
    rows = elements // depth if depth else 0
    return "elements", {"elements": elements, "rows": rows, "calls": 1}


def _binary(graph: Subgraph, operator: Operator, kernels: KernelSet) -> Counted:
    left, right = graph.input(operator, 0), graph.input(operator, 1)
    elements = elements_of(graph.output(operator))
    if left is None or right is None:
        return "elements", {"elements": elements, "calls": 1}
    if left.shape == right.shape:
        return "same", {"blocks": elements // 4, "rest": elements % 4, "calls": 1}
    if left.elements == 1 or right.elements == 1:
        return "scalar", {"elements": elements, "calls": 1}
    return "broadcast", {"elements": elements, "calls": 1}


def _copy(graph: Subgraph, operator: Operator, kernels: KernelSet) -> Counted:
    output = graph.output(operator)
    size = 0 if output is None else output.size_bytes
    return "bytes", {"blocks": size // 16, "rest": size % 16, "calls": 1}


def _shape(graph: Subgraph, operator: Operator, kernels: KernelSet) -> Counted:
    return "rank", {"elements": elements_of(graph.output(operator)), "calls": 1}


def _pack(graph: Subgraph, operator: Operator, kernels: KernelSet) -> Counted:
    elements, pieces = elements_of(graph.output(operator)), len(operator.inputs)
    first = graph.input(operator, 0)
    axis = operator.number("axis")
    shape = first.shape if first is not None else ()
    outer = prod(shape[: axis if axis >= 0 else axis + len(shape) + 1])
    return "copies", {
        "elements": elements,
        "pieces": pieces,
        "copies": pieces * outer,
        "calls": 1,
    }


def _unpack(graph: Subgraph, operator: Operator, kernels: KernelSet) -> Counted:
    image, axis = graph.input(operator, 0), operator.number("axis")
    shape = image.shape if image is not None else ()
    outer = prod(shape[: axis if axis >= 0 else axis + len(shape)])
    pieces = len(operator.outputs)
    return "copies", {
        "elements": elements_of(image),
        "pieces": pieces,
        "copies": pieces * outer,
        "calls": 1,
    }


def _split(graph: Subgraph, operator: Operator, kernels: KernelSet) -> Counted:
    output = graph.output(operator)
    image = graph.input(operator, 1 if operator.name == "SPLIT" else 0)
    axes = graph.input(operator, 0 if operator.name == "SPLIT" else 2)
    axis_values = axes.integers() if axes is not None else None
    axis = axis_values[0] if axis_values else -1
    shape = output.shape if output is not None else ()
    outer = prod(shape[:axis] if axis >= 0 else shape[: axis + len(shape)])
    pieces = len(operator.outputs)
    return "copies", {
        "elements": elements_of(image),
        "pieces": pieces,
        "copies": pieces * outer,
        "calls": 1,
    }


def _concatenation(graph: Subgraph, operator: Operator, kernels: KernelSet) -> Counted:
    output, axis = graph.output(operator), operator.number("axis")
    shape = output.shape if output is not None else ()
    outer = prod(shape[:axis] if axis >= 0 else shape[: axis + len(shape)])
    pieces = len(operator.inputs)
    return "copies", {
        "bytes": 0 if output is None else output.size_bytes,
        "pieces": pieces,
        "copies": pieces * outer,
        "calls": 1,
    }


def _strided_slice(graph: Subgraph, operator: Operator, kernels: KernelSet) -> Counted:
    output = graph.output(operator)
    elements = elements_of(output)
    inner = output.shape[-1] if output is not None and output.shape else 1
    return "slice", {
        "elements": elements,
        "rows": elements // inner if inner else 0,
        "calls": 1,
    }


def _reduction(graph: Subgraph, operator: Operator, kernels: KernelSet) -> Counted:
    image, axes = graph.input(operator, 0), graph.input(operator, 1)
    if image is None:
        return "odometer", {"calls": 1}
    rank = len(image.shape)
    wanted = axes.integers() if axes is not None else None
    chosen = {axis % rank for axis in wanted} if wanted and rank else set()
    terms: Terms = {"outputs": elements_of(graph.output(operator)), "calls": 1}
    terms["elements"] = image.elements
    terms["ranked"] = image.elements * rank
    terms["reduced"] = image.elements * len(chosen)
    inner = 1
    for place in range(rank - 1, 0, -1):
        inner *= max(1, image.shape[place])
        terms[f"carries_{rank - place}"] = image.elements / inner
    return f"rank{rank}", terms


def _pad(graph: Subgraph, operator: Operator, kernels: KernelSet) -> Counted:
    image, output = graph.input(operator, 0), graph.output(operator)
    if image is None or output is None:
        return "elements", {"calls": 1}
    inside, total = image.elements, output.elements
    inner = output.shape[-1] if output.shape else 1
    if kernels.is_cmsis and image.dtype == "INT8":
        depth = image.shape[-1] if image.shape else 1
        row = image.elements // depth if depth else 0
        return "cmsis", {
            "copied": inside,
            "filled": total - inside,
            "rows": row,
            "calls": 1,
        }
    return "elements", {
        "copied": inside,
        "filled": total - inside,
        "rows": total // inner if inner else 0,
        "calls": 1,
    }


def _transpose(graph: Subgraph, operator: Operator, kernels: KernelSet) -> Counted:
    image, order = graph.input(operator, 0), graph.input(operator, 1)
    elements = elements_of(image)
    permutation = (order.integers() if order is not None else None) or ()
    moved = tuple(axis for axis in permutation if image is not None and image.shape[axis] > 1)
    inner_kept = bool(moved) and image is not None and moved[-1] == max(moved)
    output = graph.output(operator)
    inner = output.shape[-1] if output is not None and output.shape else 1
    path = f"rank{len(permutation)}"
    if kernels.is_cmsis and image is not None and image.dtype == "INT8":
        path = "cmsis_" + path
    return path, {
        "elements": elements,
        "runs": elements / inner if inner else 0,
        "kept": elements if inner_kept else 0,
        "calls": 1,
    }


def _matrix_product(graph: Subgraph, operator: Operator, kernels: KernelSet) -> Counted:
    left, right, output = (
        graph.input(operator, 0),
        graph.input(operator, 1),
        graph.output(operator),
    )
    if left is None or right is None or output is None or len(left.shape) < 2:
        return "product", {"calls": 1}
    depth = left.shape[-2] if operator.options.get("adj_x") else left.shape[-1]
    copied = left.elements if operator.options.get("adj_x") else 0
    copied += 0 if operator.options.get("adj_y") else right.elements
    return "product", {
        "macs": output.elements * depth,
        "outputs": output.elements,
        "copied": copied,
        "calls": 1,
    }


def _resize(graph: Subgraph, operator: Operator, kernels: KernelSet) -> Counted:
    output = graph.output(operator)
    elements = elements_of(output)
    channels = output.shape[-1] if output is not None and output.shape else 1
    pixels = elements // channels if channels else 0
    return "pixels", {"elements": elements, "pixels": pixels, "calls": 1}


def _transpose_conv(graph: Subgraph, operator: Operator, kernels: KernelSet) -> Counted:
    image, weights, output = (
        graph.input(operator, 2),
        graph.input(operator, 1),
        graph.output(operator),
    )
    if image is None or weights is None or output is None or len(weights.shape) != 4:
        return "scatter", {"calls": 1}
    channels_out, kernel_h, kernel_w, channels_in = weights.shape
    taps = image.elements // max(1, channels_in) * kernel_h * kernel_w
    reversed_filter = (
        kernels.is_cmsis
        and image.dtype == "INT8"
        and operator.number("stride_h", 1) <= 2
        and operator.number("stride_w", 1) <= 2
        and channels_in > 16
    )
    return "reversed" if reversed_filter else "scatter", {
        "macs": taps * channels_in * channels_out,
        "tap_outputs": taps * channels_out,
        "tap_inputs": taps * channels_in,
        "outputs": output.elements,
        "calls": 1,
    }


OTHER: Final[dict[str, Callable[[Subgraph, Operator, KernelSet], Counted]]] = {
    "SOFTMAX": _softmax,
    "LOG_SOFTMAX": _softmax,
    "ADD": _binary,
    "SUB": _binary,
    "MUL": _binary,
    "DIV": _binary,
    "MAXIMUM": _binary,
    "MINIMUM": _binary,
    "SQUARED_DIFFERENCE": _binary,
    "RESHAPE": _copy,
    "SQUEEZE": _copy,
    "SHAPE": _shape,
    "PACK": _pack,
    "UNPACK": _unpack,
    "SPLIT": _split,
    "SPLIT_V": _split,
    "CONCATENATION": _concatenation,
    "STRIDED_SLICE": _strided_slice,
    "SLICE": _strided_slice,
    "MEAN": _reduction,
    "SUM": _reduction,
    "REDUCE_MAX": _reduction,
    "REDUCE_MIN": _reduction,
    "REDUCE_ALL": _reduction,
    "ARG_MAX": _softmax,
    "ARG_MIN": _softmax,
    "L2_NORMALIZATION": _softmax,
    "PAD": _pad,
    "PADV2": _pad,
    "MIRROR_PAD": _pad,
    "TRANSPOSE": _transpose,
    "BATCH_MATMUL": _matrix_product,
    "RESIZE_NEAREST_NEIGHBOR": _resize,
    "RESIZE_BILINEAR": _resize,
    "TRANSPOSE_CONV": _transpose_conv,
}


def other_terms(graph: Subgraph, operator: Operator, kernels: KernelSet) -> Counted:
    """Path and terms of an operator without a window."""
    return OTHER.get(operator.name, _elementwise)(graph, operator, kernels)
