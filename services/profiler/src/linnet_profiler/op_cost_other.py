"""What the operators without windows count: elements, rows, copies, index carries."""

from __future__ import annotations

from collections.abc import Callable
from math import prod
from typing import Final

from linnet_profiler.copies import Runs, copy_terms
from linnet_profiler.counted import Counted, Terms, add_terms
from linnet_profiler.kernel_sets import KernelSet
from linnet_profiler.model import Operator, Subgraph, Tensor
from linnet_profiler.op_cost_conv import vector_terms
from linnet_profiler.op_shapes import same_padding
from linnet_profiler.value_signs import signs_of

_IMAGE_RANK: Final = 4


def elements_of(tensor: Tensor | None) -> int:
    """Elements of a tensor, 0 where it is left out."""
    return 0 if tensor is None else tensor.elements


def _elementwise(graph: Subgraph, operator: Operator, _: KernelSet) -> Counted:
    elements = elements_of(graph.output(operator))
    source = operator.inputs[0] if operator.inputs else -1
    negative = signs_of(graph, source).negative if source >= 0 else 0.0
    return Counted(
        "elements",
        {
            "negative_elements": elements * negative,
            "other_elements": elements * (1 - negative),
            "calls": 1,
        },
    )


def _plain(graph: Subgraph, operator: Operator, _: KernelSet) -> Counted:
    return Counted("elements", {"elements": elements_of(graph.output(operator)), "calls": 1})


def _softmax(graph: Subgraph, operator: Operator, _: KernelSet) -> Counted:
    image = graph.input(operator, 0)
    elements = elements_of(image)
    depth = image.shape[-1] if image is not None and image.shape else 1
    rows = elements // depth if depth else 0
    # The largest of a row has exponent 0, which the exponential answers at once.
    return Counted("elements", {"others": elements - rows, "rows": rows, "calls": 1})


def _binary(graph: Subgraph, operator: Operator, kernels: KernelSet) -> Counted:
    left, right = graph.input(operator, 0), graph.input(operator, 1)
    elements, name = elements_of(graph.output(operator)), operator.name.lower()
    terms: Terms = {f"{name}_calls": 1}
    inner = _broadcast_run(left.shape, right.shape) if left and right else None
    if inner is not None:
        terms |= {
            f"{name}_elements": elements,
            "broadcast_elements": elements,
            "broadcast_rows": elements / inner if inner else 0,
            "broadcasts": 1,
        }
    elif kernels.is_cmsis and left and left.dtype == "INT8" and operator.name in _CMSIS_BINARY:
        terms |= {f"{name}_words": elements // 4, f"{name}_rest": elements % 4}
    else:
        terms[f"{name}_elements"] = elements
    return Counted("binary", terms, "BINARY")


_CMSIS_BINARY: Final = frozenset({"ADD", "MUL", "MAXIMUM", "MINIMUM"})


def _broadcast_run(left: tuple[int, ...], right: tuple[int, ...]) -> int | None:
    """Elements of the innermost run over which operands broadcast alike; None without broadcast."""
    rank = max(len(left), len(right))
    first = (1,) * (rank - len(left)) + left
    second = (1,) * (rank - len(right)) + right
    if first == second:
        return None
    run, kind = 1, ""
    for a, b in zip(reversed(first), reversed(second), strict=True):
        if a == b == 1:
            continue
        this = "same" if a == b else "left" if a == 1 else "right"
        if kind and this != kind:
            break
        kind, run = this, run * max(a, b)
    return run


def _copy(graph: Subgraph, operator: Operator, _: KernelSet) -> Counted:
    output = graph.output(operator)
    size = 0 if output is None else output.size_bytes
    return Counted("bytes", {"blocks": size // 16, "rest": size % 16, "calls": 1})


def _outer(shape: tuple[int, ...], axis: int, rank: int) -> int:
    return prod(shape[: axis if axis >= 0 else axis + rank])


def _pieces(elements: int, copies: int, name: str) -> Terms:
    """Terms of kernels that move pieces element by element: the loop is the same, the rest theirs."""
    return {"elements": elements, f"{name}_copies": copies, f"{name}_calls": 1}


def _pack(graph: Subgraph, operator: Operator, _: KernelSet) -> Counted:
    first, output = graph.input(operator, 0), graph.output(operator)
    shape = first.shape if first is not None else ()
    outer = _outer(shape, operator.number("axis"), len(shape) + 1)
    copies = len(operator.inputs) * outer
    return Counted("copies", _pieces(elements_of(output), copies, "pack"), "PIECES", any_type=True)


def _unpack(graph: Subgraph, operator: Operator, _: KernelSet) -> Counted:
    image = graph.input(operator, 0)
    shape = image.shape if image is not None else ()
    outer = _outer(shape, operator.number("axis"), len(shape))
    terms = _pieces(elements_of(image), len(operator.outputs) * outer, "split")
    return Counted("copies", terms, "PIECES", any_type=True)


def _split(graph: Subgraph, operator: Operator, _: KernelSet) -> Counted:
    image = graph.input(operator, 1 if operator.name == "SPLIT" else 0)
    axes = graph.input(operator, 0 if operator.name == "SPLIT" else 2)
    wanted = axes.integers() if axes is not None else None
    shape = image.shape if image is not None else ()
    outer = _outer(shape, wanted[0] if wanted else -1, len(shape))
    terms = _pieces(elements_of(image), len(operator.outputs) * outer, "split")
    return Counted("copies", terms, "PIECES", any_type=True)


def _concatenation(graph: Subgraph, operator: Operator, kernels: KernelSet) -> Counted:
    output = graph.output(operator)
    shape = output.shape if output is not None else ()
    outer = _outer(shape, operator.number("axis"), len(shape))
    pieces = [graph.tensors[index].size_bytes for index in operator.inputs if index >= 0]
    lengths = [size // outer if outer else 0 for size in pieces]
    aligned = all(length % 4 == 0 for length in lengths)
    terms: Terms = {"pieces": len(pieces), "copies": len(pieces) * outer, "calls": 1}
    for length in lengths:
        runs = Runs(outer, 0) if aligned else Runs(0, outer)
        add_terms(terms, copy_terms(runs, length, kernels))
    return Counted("copies", terms)


def _slice(graph: Subgraph, operator: Operator, kernels: KernelSet) -> Counted:
    output = graph.output(operator)
    elements = elements_of(output)
    inner = output.shape[-1] if output is not None and output.shape else 1
    rows = elements // inner if inner else 0
    run = inner * (output.element_bits // 8) if output is not None else inner
    runs = Runs(rows, 0) if run % 4 == 0 else Runs(0, rows)
    terms: Terms = {
        **copy_terms(runs, run, kernels),
        "rows": rows,
        f"{operator.name.lower()}_calls": 1,
    }
    return Counted("slice", terms, "SLICES", any_type=True)


def _reduction(graph: Subgraph, operator: Operator, _: KernelSet) -> Counted:
    image, axes = graph.input(operator, 0), graph.input(operator, 1)
    if image is None:
        return Counted("odometer", {"calls": 1})
    rank = len(image.shape)
    wanted = (axes.integers() if axes is not None else None) or ()
    chosen = [axis % rank for axis in wanted] if rank else []
    elements, outputs = image.elements, elements_of(graph.output(operator))
    window = rank == _IMAGE_RANK and sorted(chosen) == [1, 2]
    if operator.name == "MEAN" and image.dtype == "FLOAT32" and window:
        if operator.options.get("keep_dims"):
            return Counted("window", {"elements": elements, "outputs": outputs, "calls": 1})
    # Each step looks every dimension up among the axes, in their order.
    looks = sum(
        chosen.index(place) + 1 if place in chosen else len(chosen) for place in range(rank)
    )
    inner, carries = 1, 0.0
    for place in range(rank - 1, 0, -1):
        inner *= max(1, image.shape[place])
        carries += elements / inner
    terms: Terms = {
        "elements": elements,
        "dimensions": elements * rank,
        "looks": elements * looks,
        "carries": carries,
        "outputs": outputs,
        "calls": 1,
    }
    if operator.name in ("REDUCE_MAX", "REDUCE_MIN"):
        terms["compared_elements"] = elements
    elif operator.name == "MEAN":
        terms["mean_outputs"] = outputs
    return Counted("odometer", terms, "REDUCTION")


def _pad(graph: Subgraph, operator: Operator, kernels: KernelSet) -> Counted:
    image, output = graph.input(operator, 0), graph.output(operator)
    if image is None or output is None or not image.shape or not output.shape:
        return Counted("elements", {"calls": 1})
    inside, total = image.elements, output.elements
    if kernels.is_cmsis and image.dtype == "INT8":
        return _cmsis_pad(image, output)
    depth, wide = max(1, image.shape[-1]), max(1, output.shape[-1])
    beside = inside // depth * (wide - depth)
    return Counted(
        "elements",
        {
            "copied": inside,
            "filled": total - inside - beside,
            "filled_beside": beside,
            "rows": total / wide,
            "calls": 1,
        },
    )


def _cmsis_pad(image: Tensor, output: Tensor) -> Counted:
    pixels = image.elements // max(1, image.shape[-1])
    # Rows are copied whole unless the channels are padded; then every pixel is copied alone.
    padded = image.shape[-1] != output.shape[-1]
    width = image.shape[-2] if len(image.shape) > 1 and not padded else 1
    filled = output.elements - image.elements
    return Counted(
        "cmsis",
        {
            "lines": pixels / max(1, width),
            "copied": image.elements,
            "filled": filled,
            "calls": 1,
        },
    )


def _transpose(graph: Subgraph, operator: Operator, kernels: KernelSet) -> Counted:
    image, output = graph.input(operator, 0), graph.output(operator)
    elements = elements_of(image)
    if kernels.is_cmsis and image is not None and image.dtype == "INT8":
        # CMSIS-NN walks the input in its own order.
        inner = image.shape[-1] if image.shape else 1
        terms: Terms = {
            "elements": elements,
            "rows": elements / inner if inner else 0,
            "low_rank_calls": 1 if len(image.shape) < _IMAGE_RANK else 0,
            "calls": 1,
        }
        return Counted("cmsis", terms)
    shape = output.shape if output is not None else ()
    inner = shape[-1] if shape else 1
    middle = inner * (shape[-2] if len(shape) > 1 else 1)
    return Counted(
        "recursive",
        {
            "elements": elements,
            "rows": elements / inner if inner else 0,
            "planes": elements / middle if middle else 0,
            "calls": 1,
        },
    )


def _matrix_product(graph: Subgraph, operator: Operator, kernels: KernelSet) -> Counted:
    left, right, output = (
        graph.input(operator, 0),
        graph.input(operator, 1),
        graph.output(operator),
    )
    if left is None or right is None or output is None or not left.shape or not right.shape:
        return Counted("product", {"calls": 1})
    adj_x, adj_y = bool(operator.options.get("adj_x")), bool(operator.options.get("adj_y"))
    depth = left.shape[-2] if adj_x and len(left.shape) > 1 else left.shape[-1]
    copied = (left.elements if adj_x else 0) + (0 if adj_y else right.elements)
    columns = output.shape[-1] if output.shape else 1
    rows = output.elements // max(1, columns)
    extra: Terms = {"copied": copied, "product_calls": 1}
    if kernels.is_cmsis and left.dtype == "INT8":
        vectors = vector_terms(columns, depth, rows, kernels)
        macs = output.elements * depth
        return Counted("per_tensor", {**vectors, **extra, "offset_macs": macs}, "DENSE")
    terms: Terms = {
        "macs": output.elements * depth,
        "product_outputs": output.elements,
        "product_rows": rows,
        **extra,
    }
    path = "per_tensor" if left.dtype == "INT8" else "reference"
    return Counted(path, terms, "DENSE")


def _resize(graph: Subgraph, operator: Operator, kernels: KernelSet) -> Counted:
    output = graph.output(operator)
    elements = elements_of(output)
    channels = output.shape[-1] if output is not None and output.shape else 1
    pixels = elements // channels if channels else 0
    width = output.shape[-2] if output is not None and len(output.shape) > 1 else 1
    run = channels * (output.element_bits // 8 if output is not None else 1)
    runs = Runs(pixels, 0) if run % 4 == 0 else Runs(0, pixels)
    terms: Terms = {
        **copy_terms(runs, run, kernels),
        "pixels": pixels,
        "lines": pixels / max(1, width),
        "calls": 1,
    }
    return Counted("pixels", terms)


def _transpose_conv(graph: Subgraph, operator: Operator, kernels: KernelSet) -> Counted:
    image, weights, output = (
        graph.input(operator, 2),
        graph.input(operator, 1),
        graph.output(operator),
    )
    shapes = [tensor.shape for tensor in (image, weights, output) if tensor is not None]
    if image is None or weights is None or output is None:
        return Counted("scatter", {"calls": 1})
    if any(len(shape) != _IMAGE_RANK for shape in shapes):
        return Counted("scatter", {"calls": 1})
    channels_out, kernel_h, kernel_w, channels_in = weights.shape
    strides = (max(1, operator.number("stride_h", 1)), max(1, operator.number("stride_w", 1)))
    taps = image.elements // max(1, channels_in) * kernel_h * kernel_w
    if not (kernels.is_cmsis and image.dtype == "INT8"):
        same = operator.options.get("padding") == "same"
        valid = image.shape[0]
        for place, kernel in ((1, kernel_h), (2, kernel_w)):
            size, out, stride = image.shape[place], output.shape[place], strides[place - 1]
            pad = same_padding(out, size, kernel, stride, 1) if same else 0
            valid *= sum(
                0 <= position * stride - pad + tap < out
                for position in range(size)
                for tap in range(kernel)
            )
        return Counted(
            "scatter",
            {
                "macs": valid * channels_in * channels_out,
                "tap_inputs": valid * channels_in,
                "outside_inputs": (taps - valid) * channels_in,
                "kernel_rows": image.elements * kernel_h,
                "inputs": image.elements,
                "outputs": output.elements,
                "calls": 1,
            },
        )
    reverse = max(strides) <= 2 and channels_in > 16
    mve = kernels is KernelSet.CMSIS_MVE
    depth = -(-channels_in // 16) if mve else channels_in // 4
    return Counted(
        "reversed" if reverse else "scatter",
        {
            "mac_blocks": taps * channels_out * depth,
            "mac_rest": 0 if mve else taps * channels_out * (channels_in % 4),
            "tap_outputs": taps * channels_out,
            "taps": taps,
            "outputs": output.elements,
            "calls": 1,
        },
    )


_Rule = Callable[[Subgraph, Operator, KernelSet], Counted]
OTHER: Final[dict[str, _Rule]] = {
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
    "SHAPE": _plain,
    "EXPAND_DIMS": _plain,
    "HARD_SWISH": _plain,
    "QUANTIZE": _plain,
    "DEQUANTIZE": _plain,
    "PACK": _pack,
    "UNPACK": _unpack,
    "SPLIT": _split,
    "SPLIT_V": _split,
    "CONCATENATION": _concatenation,
    "STRIDED_SLICE": _slice,
    "SLICE": _slice,
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
