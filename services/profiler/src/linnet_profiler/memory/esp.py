"""What each operator takes from the arena with ESP-NN kernels.

Source: esp-tflite-micro 99f49e14 kernels/esp_nn/*.cc and esp-nn d45b843c, read, not compiled; the
formulas change with the library, so the figures are estimates. Espressif's kernels add an index to
the reference kernels' OpData; the ESP32-S3's vector kernels copy filter and padded input.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from linnet_profiler.kernel_sets import KernelSet
from linnet_profiler.memory.abi import AbiSizes
from linnet_profiler.memory.reference import OperatorMemory, reference_memory
from linnet_profiler.tflite.geometry import Window, window_of
from linnet_profiler.tflite.model import Operator, Subgraph

_USER_DATA: Final = {"CONV_2D": 60, "DEPTHWISE_CONV_2D": 60, "SOFTMAX": 64}
_WHOLE_INPUT_LIMIT: Final = 40 * 1024
_CONVERTED_LIMIT: Final = 48 * 1024


def esp_memory(
    graph: Subgraph, operator: Operator, abi: AbiSizes, kernels: KernelSet
) -> OperatorMemory:
    """What ESP-NN's kernel of an operator takes; the reference kernel's where it has none."""
    memory = reference_memory(graph, operator, abi)
    memory = replace(memory, user_data_bytes=_USER_DATA.get(operator.name, memory.user_data_bytes))
    image, window = graph.input(operator, 0), window_of(graph, operator)
    if image is None or image.dtype != "INT8":
        return memory
    if operator.name == "SOFTMAX":
        return replace(memory, scratch=(4 * image.shape[1],) if len(image.shape) > 1 else ())
    if window is None or kernels is KernelSet.ESP_GENERIC:
        return memory
    size = 0
    if operator.name == "CONV_2D":
        size = _s3_convolution(window) if kernels is KernelSet.ESP_S3 else _p4_convolution(window)
    elif operator.name == "DEPTHWISE_CONV_2D" and kernels is KernelSet.ESP_S3:
        size = _s3_depthwise(window)
    return replace(memory, scratch=memory.scratch + ((size,) if size > 0 else ()))


def _up(value: int, multiple: int) -> int:
    return -(-value // multiple) * multiple


def _s3_convolution(window: Window) -> int:
    channels, out = window.channels_in, window.channels_out
    height, width = window.height, window.width
    unpadded = height.pad == 0 and width.pad == 0
    if window.taps == 1 and unpadded and height.stride == 1 and width.stride == 1:
        wide, pixels = _up(channels, 8), height.size * width.size
        size = wide * out + 64 + (16 * wide if pixels >= 8 else 0)
        return size + (pixels * wide if channels % 8 else 0)
    depth = window.taps * channels
    if width.kernel * channels < 16 <= depth:
        return 4 * out + out * _up(depth, 16) + _up(depth, 16) + 96
    right = max(0, width.out * width.stride + width.kernel - 1 - width.size)
    bottom = max(0, height.out * height.stride + height.kernel - 1 - height.size)
    size = window.taps * _up(channels, 16) * out
    size += _up(width.kernel * channels, 16) * height.kernel * out + 4 * out + 64
    if not unpadded:
        size += (width.size + 2 * width.pad) * (height.size + 2 * height.pad) * channels
    if right or bottom:
        size += (width.size + right) * (height.size + bottom) * channels
    return size


def _p4_convolution(window: Window) -> int:
    if window.taps == 1:
        return 0
    return 4 * window.channels_out + _up(window.taps * window.channels_in, 16) + 96


def _s3_depthwise(window: Window) -> int:
    channels, height, width = window.channels_in, window.height, window.width
    filter_bytes = window.taps * window.channels_out
    input_bytes = height.size * width.size * channels
    three = height.kernel == 3 and width.kernel == 3
    if window.multiplier == 1 and channels % 16 == 0 and three:
        padded = (width.size + 2 * width.pad) * (height.size + 2 * height.pad) * channels
        if padded <= _WHOLE_INPUT_LIMIT:
            return filter_bytes + padded + 16
        return filter_bytes + (width.size + 2 * width.pad) * height.kernel * channels + 16
    if channels % 8 and channels > 3:
        wide = _up(channels, 8)
        return 2 * (window.taps * wide * window.multiplier + height.size * width.size * wide) + 32
    size = 2 * (filter_bytes + input_bytes) + 32
    strip = 2 * (filter_bytes + width.size * height.kernel * channels) + 32
    return size if size <= _CONVERTED_LIMIT else strip
