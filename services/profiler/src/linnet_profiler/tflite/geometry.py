"""Geometry that memory and cost share: windows, padding, taps inside the image."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from linnet_profiler.tflite.model import Operator, Subgraph

# Longer images than any memory holds are not looked at pixel by pixel.
_LONGEST_AXIS: Final = 1 << 16


@dataclass(frozen=True, slots=True)
class Axis:
    """One spatial axis of a windowed operator.

    Attributes:
        size: Input length.
        out: Output length.
        kernel: Window length.
        stride: Step.
        dilation: Distance between taps.
        pad: Padding before the first element.
    """

    size: int
    out: int
    kernel: int
    stride: int
    dilation: int
    pad: int

    def valid_taps(self) -> int:
        """Taps that fall inside the image, summed over the output positions."""
        if self.out <= self.kernel:
            return sum(self.taps_at(position) for position in range(self.out))
        return sum(self._positions_of(tap) for tap in range(self.kernel))

    def taps_at(self, position: int) -> int:
        """Taps inside the image at one output position."""
        start = position * self.stride - self.pad
        return inside(start, self.dilation, self.kernel, self.size)

    def clean(self, position: int) -> bool:
        """True where every tap at one output position lies inside the image."""
        return self.taps_at(position) == self.kernel

    def _positions_of(self, tap: int) -> int:
        return inside(tap * self.dilation - self.pad, self.stride, self.out, self.size)


def inside(start: int, step: int, count: int, size: int) -> int:
    """How many of start, start + step, ... (count of them) lie in [0, size)."""
    first = max(0, -(start // step)) if start < 0 else 0
    last = min(count - 1, (size - 1 - start) // step)
    return max(0, last - first + 1)


@dataclass(frozen=True, slots=True)
class Window:
    """A 2-D window over an NHWC image, as TFLM computes it."""

    batches: int
    height: Axis
    width: Axis
    channels_in: int
    channels_out: int
    filter_channels: int
    multiplier: int

    @property
    def positions(self) -> int:
        """Output pixels over all batches."""
        return self.batches * self.height.out * self.width.out

    @property
    def valid_taps(self) -> int:
        """Taps inside the image over all output pixels."""
        return self.batches * self.height.valid_taps() * self.width.valid_taps()

    @property
    def lines(self) -> int:
        """Rows of the output image over all batches."""
        return self.batches * self.height.out

    @property
    def window_rows(self) -> int:
        """Rows of the window inside the image, summed over the output pixels."""
        return self.batches * self.height.valid_taps() * self.width.out

    @property
    def taps(self) -> int:
        """Taps of one window."""
        return self.height.kernel * self.width.kernel


def same_padding(size: int, out: int, kernel: int, stride: int, dilation: int) -> int:
    """Padding before the first element, as TFLM's ComputePaddingWithOffset gives it."""
    total = (out - 1) * stride + (kernel - 1) * dilation + 1 - size
    return max(total, 0) // 2


def window_of(graph: Subgraph, operator: Operator) -> Window | None:
    """The window of a convolution or pool; None where its tensors are no NHWC images of any use."""
    pool = operator.name in ("MAX_POOL_2D", "AVERAGE_POOL_2D", "L2_POOL_2D")
    image = graph.input(operator, 0)
    weights = None if pool else graph.input(operator, 1)
    output = graph.output(operator)
    if image is None or output is None or len(image.shape) != 4 or len(output.shape) != 4:
        return None
    if pool:
        kernel = (operator.number("window_h"), operator.number("window_w"))
        filter_channels = 1
    else:
        if weights is None or len(weights.shape) != 4:
            return None
        kernel = (weights.shape[1], weights.shape[2])
        filter_channels = weights.shape[3]
    stride = (
        max(1, operator.number("stride_h", 1)),
        max(1, operator.number("stride_w", 1)),
    )
    dilation = (
        max(1, operator.number("dilation_h", 1)),
        max(1, operator.number("dilation_w", 1)),
    )
    if max(*image.shape[1:3], *output.shape[1:3], *kernel) > _LONGEST_AXIS:
        return None
    same = operator.options.get("padding") == "same"
    axes = [
        Axis(
            size=image.shape[1 + place],
            out=output.shape[1 + place],
            kernel=kernel[place],
            stride=stride[place],
            dilation=dilation[place],
            pad=same_padding(
                image.shape[1 + place],
                output.shape[1 + place],
                kernel[place],
                stride[place],
                dilation[place],
            )
            if same
            else 0,
        )
        for place in (0, 1)
    ]
    multiplier = operator.number("depth_multiplier", 1) or 1
    if operator.name == "DEPTHWISE_CONV_2D" and image.shape[3]:
        multiplier = max(1, output.shape[3] // image.shape[3])
    return Window(
        batches=image.shape[0],
        height=axes[0],
        width=axes[1],
        channels_in=image.shape[3],
        channels_out=output.shape[3],
        filter_channels=filter_channels,
        multiplier=multiplier,
    )
