"""Geometry that memory and cost share: windows, padding, taps inside the image."""

from __future__ import annotations

from dataclasses import dataclass

from linnet_profiler.tflite.model import Operator, Subgraph


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
        steps = Steps(self.stride, self.out)
        return pairs_inside(-self.pad, steps, Steps(self.dilation, self.kernel), self.size)

    def clean_positions(self) -> tuple[int, int]:
        """First output position of which every tap lies inside the image, and first after those."""
        reach = (self.kernel - 1) * self.dilation
        first = -(-self.pad // self.stride)
        after = (self.size - 1 - reach + self.pad) // self.stride + 1
        return min(first, self.out), max(min(first, self.out), min(after, self.out))


@dataclass(frozen=True, slots=True)
class Steps:
    """The numbers 0, step, 2 * step, ...: count of them, step at least 1."""

    step: int
    count: int


def pairs_inside(start: int, first: Steps, second: Steps, size: int) -> int:
    """How many sums of start, one of the first steps and one of the second lie in [0, size)."""
    return _pairs_to(size - 1 - start, first, second) - _pairs_to(-1 - start, first, second)


def _pairs_to(limit: int, first: Steps, second: Steps) -> int:
    """How many pairs of steps sum up to at most a limit."""
    if limit < 0 or first.count <= 0 or second.count <= 0:
        return 0
    reached = min(first.count, limit // first.step + 1)
    # Of the first ones, those that leave room for all of the second.
    room = limit - (second.count - 1) * second.step
    whole = min(reached, room // first.step + 1) if room >= 0 else 0
    rest = reached - whole
    left = limit - (reached - 1) * first.step
    return whole * second.count + rest + floor_sum(rest, second.step, first.step, left)


def floor_sum(count: int, divisor: int, factor: int, offset: int) -> int:
    """Sum of (factor * i + offset) // divisor over i in [0, count), in logarithmic time.

    The lattice points under a line, by Euclid's algorithm on its slope.

    Args:
        count: At least 0.
        divisor: At least 1.
        factor: At least 0.
        offset: At least 0.
    """
    total = 0
    while count > 0:
        total += count * (count - 1) // 2 * (factor // divisor) + count * (offset // divisor)
        factor, offset = factor % divisor, offset % divisor
        top = factor * count + offset
        count, offset = divmod(top, divisor)
        divisor, factor = factor, divisor
    return total


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
