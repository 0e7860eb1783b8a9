"""What transposed convolutions count: each input pixel scattered over its window."""

from __future__ import annotations

from typing import Final

from linnet_profiler.cost.conv import cmsis_convolution
from linnet_profiler.cost.copies import Runs, copy_terms
from linnet_profiler.cost.counted import Counted, Terms
from linnet_profiler.cost.mve import mve_convolution
from linnet_profiler.kernel_sets import KernelSet
from linnet_profiler.tflite.geometry import Axis, Steps, Window, pairs_inside, same_padding
from linnet_profiler.tflite.model import Operator, Subgraph

_IMAGE_RANK: Final = 4
# Input channels that CMSIS-NN's inner loop takes at once.
_BLOCK_CHANNELS: Final = {
    KernelSet.CMSIS_C: 2,
    KernelSet.CMSIS_DSP: 4,
    KernelSet.CMSIS_MVE: 16,
}


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
            valid *= pairs_inside(-pad, Steps(1, kernel), Steps(stride, size), out)
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
    window = _window(image.shape, weights.shape, output.shape, strides, operator)
    if max(strides) <= 2 and channels_in > 16:
        return _reversed(window, kernels)
    return _rolling(window, strides, image.shape, kernels)


def _window(
    image: tuple[int, ...],
    weights: tuple[int, ...],
    output: tuple[int, ...],
    strides: tuple[int, int],
    operator: Operator,
) -> Window:
    """The convolution that a transposed one is, over an image spread out by the strides."""
    same = operator.options.get("padding") == "same"
    axes = []
    for place in (1, 2):
        size, out, kernel, stride = image[place], output[place], weights[place], strides[place - 1]
        pad = same_padding(out, size, kernel, stride, 1) if same else 0
        spread = (size - 1) * stride + 1
        axes.append(Axis(spread, out, kernel, stride=1, dilation=1, pad=max(0, kernel - 1 - pad)))
    return Window(
        batches=image[0],
        height=axes[0],
        width=axes[1],
        channels_in=image[3],
        channels_out=weights[0],
        filter_channels=image[3],
        multiplier=1,
    )


def _reversed(window: Window, kernels: KernelSet) -> Counted:
    """Terms of arm_transpose_conv_wrapper_s8's way by arm_convolve_s8, with reversed filters."""
    mve = kernels is KernelSet.CMSIS_MVE
    counted = mve_convolution(window) if mve else cmsis_convolution(window, kernels)
    weights = window.taps * window.filter_channels * window.channels_out
    # No build was counted on this way: what comes before the convolution has no fitted cost.
    return Counted(counted.path, {**counted.terms, "reversed_weights": weights}, family="CONV_2D")


def _rolling(
    window: Window, strides: tuple[int, int], image: tuple[int, ...], kernels: KernelSet
) -> Counted:
    """Terms of arm_transpose_conv_s8: four input pixels at a time into a rolling buffer."""
    high, wide = window.height, window.width
    pads = (high.kernel - 1 - high.pad, wide.kernel - 1 - wide.pad)
    # The kernel lets one row more than the output has pass, into the buffer only.
    rows = pairs_inside(-pads[0], Steps(strides[0], image[1]), Steps(1, high.kernel), high.out + 1)
    written = strides[0] * max(0, image[1] - -(-pads[0] // strides[0]))
    fours, left = divmod(image[2], 4)
    groups = fours + left // 2 + left % 2
    runs = window.batches * rows * groups * window.channels_out
    taps = runs * wide.kernel
    lanes = window.batches * rows * image[2] * window.channels_out * wide.kernel
    # Four pixels at a time need more registers than there are; two and one don't.
    few = left / image[2] if image[2] else 0.0
    step = _BLOCK_CHANNELS[kernels]
    blocks, rest = divmod(window.channels_in, step)
    if kernels is KernelSet.CMSIS_MVE and rest:
        blocks, rest = blocks + 1, 0
    buffered = (image[2] - 1) * strides[1] + max(wide.kernel, strides[1])
    resets = window.batches * buffered * (max(high.kernel, strides[0]) + written)
    size = 4 * window.channels_out
    terms: Terms = {
        "block_lanes": lanes * (1 - few) * blocks,
        "few_lanes": lanes * few * blocks,
        "block_loops": taps * blocks,
        "rest_lanes": lanes * rest,
        "rest_loops": taps * rest,
        "tap_lanes": lanes,
        "tap_runs": taps,
        "filter_rows": runs,
        "outputs": window.positions * window.channels_out,
        "resets": resets,
        "calls": 1,
    }
    if kernels is KernelSet.CMSIS_MVE:
        terms |= {
            "output_blocks": window.positions * -(-window.channels_out // 4),
            "reset_blocks": resets * -(-size // 16),
        }
        del terms["rest_lanes"], terms["rest_loops"], terms["outputs"]
    else:
        terms |= copy_terms(Runs(resets, 0), size, kernels)
    return Counted("scatter", terms)
