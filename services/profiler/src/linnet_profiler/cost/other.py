"""What the operators without windows or weights count: elements, rows, index carries."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from linnet_profiler.cost.counted import Counted, Terms
from linnet_profiler.cost.dense import product_terms
from linnet_profiler.cost.moves import (
    concatenation_terms,
    elements_of,
    pack_terms,
    pad_terms,
    reshape_terms,
    resize_terms,
    slice_terms,
    split_terms,
    transpose_terms,
    unpack_terms,
)
from linnet_profiler.cost.scatter import transpose_conv_terms
from linnet_profiler.cost.value_signs import signs_of
from linnet_profiler.kernel_sets import KernelSet
from linnet_profiler.tflite.model import Operator, Subgraph

_IMAGE_RANK: Final = 4


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


def _reduction(graph: Subgraph, operator: Operator, _: KernelSet) -> Counted:
    image, axes = graph.input(operator, 0), graph.input(operator, 1)
    if image is None:
        return Counted("odometer", {"calls": 1})
    rank = len(image.shape)
    wanted = (axes.integers() if axes is not None else None) or ()
    chosen = [axis % rank for axis in wanted] if rank else []
    elements, outputs = image.elements, elements_of(graph.output(operator))
    window = rank == _IMAGE_RANK and sorted(chosen) == [1, 2]
    floating = operator.name == "MEAN" and image.dtype == "FLOAT32"
    if floating and window and operator.options.get("keep_dims"):
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
    elif image.dtype == "FLOAT32":
        # In soft float a sum takes longer than a comparison.
        terms["summed_elements"] = elements
    if operator.name == "MEAN":
        terms["mean_outputs"] = outputs
    return Counted("odometer", terms, "REDUCTION")


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
    "RESHAPE": reshape_terms,
    "SQUEEZE": reshape_terms,
    "SHAPE": _plain,
    "EXPAND_DIMS": _plain,
    "HARD_SWISH": _plain,
    "QUANTIZE": _plain,
    "DEQUANTIZE": _plain,
    "PACK": pack_terms,
    "UNPACK": unpack_terms,
    "SPLIT": split_terms,
    "SPLIT_V": split_terms,
    "CONCATENATION": concatenation_terms,
    "STRIDED_SLICE": slice_terms,
    "SLICE": slice_terms,
    "MEAN": _reduction,
    "SUM": _reduction,
    "REDUCE_MAX": _reduction,
    "REDUCE_MIN": _reduction,
    "REDUCE_ALL": _reduction,
    "ARG_MAX": _softmax,
    "ARG_MIN": _softmax,
    "L2_NORMALIZATION": _softmax,
    "PAD": pad_terms,
    "PADV2": pad_terms,
    "MIRROR_PAD": pad_terms,
    "TRANSPOSE": transpose_terms,
    "BATCH_MATMUL": product_terms,
    "RESIZE_NEAREST_NEIGHBOR": resize_terms,
    "RESIZE_BILINEAR": resize_terms,
    "TRANSPOSE_CONV": transpose_conv_terms,
}


def other_terms(graph: Subgraph, operator: Operator, kernels: KernelSet) -> Counted:
    """Path and terms of an operator without a window."""
    return OTHER.get(operator.name, _elementwise)(graph, operator, kernels)
