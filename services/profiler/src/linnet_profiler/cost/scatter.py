"""What transposed convolutions count: each input pixel scattered over its window."""

from __future__ import annotations

from linnet_profiler.cost.counted import Counted
from linnet_profiler.kernel_sets import KernelSet
from linnet_profiler.tflite.geometry import inside, same_padding
from linnet_profiler.tflite.model import Operator, Subgraph

_IMAGE_RANK = 4


def transpose_conv_terms(graph: Subgraph, operator: Operator, kernels: KernelSet) -> Counted:
    """Path and terms of TRANSPOSE_CONV."""
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
            valid *= sum(inside(tap - pad, stride, size, out) for tap in range(kernel))
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
