"""What the operators that move data count: copies by length and alignment, rows, pieces."""

from __future__ import annotations

from math import prod
from typing import Final

from linnet_profiler.cost.armv6m_pad import armv6m_pad_terms
from linnet_profiler.cost.copies import Runs, copy_terms
from linnet_profiler.cost.counted import Counted, Terms, add_terms
from linnet_profiler.kernel_sets import KernelSet
from linnet_profiler.tflite.model import Operator, Subgraph, Tensor

_IMAGE_RANK = 4

# Kernels that TFLM has once, and that spend their time in memcpy.
COPYING: Final = frozenset(
    {"CONCATENATION", "SLICE", "STRIDED_SLICE", "RESIZE_NEAREST_NEIGHBOR", "RESIZE_BILINEAR"}
)


def elements_of(tensor: Tensor | None) -> int:
    """Elements of a tensor, 0 where it is left out."""
    return 0 if tensor is None else tensor.elements


def reshape_terms(graph: Subgraph, operator: Operator, _: KernelSet) -> Counted:
    """Path and terms of RESHAPE."""
    output = graph.output(operator)
    size = 0 if output is None else output.size_bytes
    return Counted("bytes", {"blocks": size // 16, "rest": size % 16, "calls": 1})


def _outer(shape: tuple[int, ...], axis: int, rank: int) -> int:
    return prod(shape[: axis if axis >= 0 else axis + rank])


def _pieces(elements: int, copies: int, name: str) -> Terms:
    """Terms of kernels that move pieces element by element, in one and the same loop."""
    return {"elements": elements, f"{name}_copies": copies, f"{name}_calls": 1}


def pack_terms(graph: Subgraph, operator: Operator, _: KernelSet) -> Counted:
    """Path and terms of PACK."""
    first, output = graph.input(operator, 0), graph.output(operator)
    shape = first.shape if first is not None else ()
    outer = _outer(shape, operator.number("axis"), len(shape) + 1)
    copies = len(operator.inputs) * outer
    return Counted("copies", _pieces(elements_of(output), copies, "pack"), "PIECES", any_type=True)


def unpack_terms(graph: Subgraph, operator: Operator, _: KernelSet) -> Counted:
    """Path and terms of UNPACK."""
    image = graph.input(operator, 0)
    shape = image.shape if image is not None else ()
    outer = _outer(shape, operator.number("axis"), len(shape))
    terms = _pieces(elements_of(image), len(operator.outputs) * outer, "split")
    return Counted("copies", terms, "PIECES", any_type=True)


def split_terms(graph: Subgraph, operator: Operator, _: KernelSet) -> Counted:
    """Path and terms of SPLIT and SPLIT_V."""
    image = graph.input(operator, 1 if operator.name == "SPLIT" else 0)
    axes = graph.input(operator, 0 if operator.name == "SPLIT" else 2)
    wanted = axes.integers() if axes is not None else None
    shape = image.shape if image is not None else ()
    outer = _outer(shape, wanted[0] if wanted else -1, len(shape))
    terms = _pieces(elements_of(image), len(operator.outputs) * outer, "split")
    return Counted("copies", terms, "PIECES", any_type=True)


def concatenation_terms(graph: Subgraph, operator: Operator, kernels: KernelSet) -> Counted:
    """Path and terms of CONCATENATION."""
    output = graph.output(operator)
    shape = output.shape if output is not None else ()
    outer = _outer(shape, operator.number("axis"), len(shape))
    pieces = [graph.tensors[index].size_bytes for index in operator.inputs if index >= 0]
    lengths = [size // outer if outer else 0 for size in pieces]
    terms: Terms = {"pieces": len(pieces), "copies": len(pieces) * outer, "calls": 1}
    before, whole = 0, sum(lengths)
    for length in lengths:
        # Of four copies in a row, those whose source and target lie on a word.
        onto = [turn * length % 4 == (turn * whole + before) % 4 == 0 for turn in range(4)]
        aligned = sum(-(-(outer - turn) // 4) for turn in range(min(4, outer)) if onto[turn])
        add_terms(terms, copy_terms(Runs(aligned, outer - aligned), length, kernels))
        before += length
    return Counted("copies", terms)


def slice_terms(graph: Subgraph, operator: Operator, kernels: KernelSet) -> Counted:
    """Path and terms of SLICE and STRIDED_SLICE."""
    output = graph.output(operator)
    elements = elements_of(output)
    inner = output.shape[-1] if output is not None and output.shape else 1
    rows = elements // inner if inner else 0
    run = inner * (output.element_bits // 8) if output is not None else inner
    runs = Runs(rows, 0) if run % 4 == 0 else Runs(0, rows)
    middle = output.shape[-2] if output is not None and len(output.shape) > 1 else 1
    terms: Terms = {
        **copy_terms(runs, run, kernels),
        "rows": rows,
        # The bounds of an axis are worked out anew each time its loop is entered.
        "planes": rows / middle if middle else 0,
        f"{operator.name.lower()}_calls": 1,
    }
    return Counted("slice", terms, "SLICES", any_type=True)


def pad_terms(graph: Subgraph, operator: Operator, kernels: KernelSet) -> Counted:
    """Path and terms of PAD."""
    image, output = graph.input(operator, 0), graph.output(operator)
    if image is None or output is None or not image.shape or not output.shape:
        return Counted("elements", {"calls": 1})
    inside, total = image.elements, output.elements
    if kernels.is_cmsis and image.dtype == "INT8":
        if kernels is KernelSet.CMSIS_C:
            return Counted("cmsis", armv6m_pad_terms(graph, operator, image.shape, output.shape))
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
    terms: Terms = {
        "lines": pixels // max(1, width),
        "copied": image.elements,
        "filled": output.elements - image.elements,
        "calls": 1,
    }
    return Counted("cmsis", terms)


def transpose_terms(graph: Subgraph, operator: Operator, kernels: KernelSet) -> Counted:
    """Path and terms of TRANSPOSE."""
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


def resize_terms(graph: Subgraph, operator: Operator, kernels: KernelSet) -> Counted:
    """Path and terms of the RESIZE operators."""
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
