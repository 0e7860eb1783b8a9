# ruff: noqa: PLR2004 - numbers of axes speak for themselves
"""Ready-made networks by input kind: the product's own, and small ones that convert well.

The product's layers, cycles and rates are those that its generated scripts and tutorials show:
dense 20-10 for motion features, 1-D and 2-D convolutions 8-16 for audio, 2-D 32-16 for images.
"""

from collections.abc import Callable
from dataclasses import dataclass

from linnet_runtime.errors import InvalidInput

from linnet_ml.spec import Activation, InputKind, Layer, LayerKind, LayerList, Pooling

Shape = tuple[int, ...]

_FLAT_AUDIO_COLUMNS = (13, 40, 32, 65)
"""Widths of the product's MFCC, MFE and spectrogram blocks, the first that divides is taken."""


@dataclass(frozen=True, slots=True)
class FitDefaults:
    """Training cycles and learning rate that a preset is meant for."""

    epochs: int = 30
    learning_rate: float = 0.0005
    batch_size: int = 32


@dataclass(frozen=True, slots=True)
class Preset:
    """A ready-made network.

    Attributes:
        id: What a spec names.
        title: What the page shows.
        input_kinds: The kinds of features that it is offered for.
        fit: Cycles and rate where the spec names none, by input kind.
        build: Gives the layers for an input kind and the shape of one row.
    """

    id: str
    title: str
    input_kinds: tuple[InputKind, ...]
    fit: dict[InputKind, FitDefaults]
    build: Callable[[InputKind, Shape], tuple[Layer, ...]]

    def fit_defaults(self, input_kind: InputKind) -> FitDefaults:
        """Give cycles, rate and batch size for features of that kind."""
        return self.fit.get(input_kind, FitDefaults())

    def layers(self, input_kind: InputKind, input_shape: Shape) -> LayerList:
        """Give the layers for one row of that shape.

        Raises:
            InvalidInput: The preset needs another number of axes.
        """
        return LayerList(self.build(input_kind, tuple(input_shape)))


def _dense(_kind: InputKind, _shape: Shape) -> tuple[Layer, ...]:
    return tuple(Layer(LayerKind.DENSE, units=n, activity_l1=1e-5) for n in (20, 10))


def _audio_columns(shape: Shape) -> int:
    if len(shape) == 2:
        return shape[1]
    size = shape[0]
    for columns in _FLAT_AUDIO_COLUMNS:
        if size % columns == 0 and size // columns >= 4:
            return columns
    raise InvalidInput.of(
        "architecture.preset",
        f"expected features of shape (frames, bands), received {shape}; "
        "or give a layer list that begins with a reshape",
    )


def _expect(shape: Shape, axes: tuple[int, ...], words: str) -> None:
    if len(shape) not in axes:
        raise InvalidInput.of(
            "architecture.preset", f"expected features of shape {words}, received {shape}"
        )


_MOTION_CONV1D = (
    Layer(LayerKind.CONV1D, units=16, kernel_size=9, pool_size=4),
    Layer(LayerKind.DROPOUT, rate=0.25),
    Layer(LayerKind.CONV1D, units=32, kernel_size=5, pool_size=4),
    Layer(LayerKind.DROPOUT, rate=0.5),
    Layer(LayerKind.FLATTEN),
)
"""For raw windows; of seven candidates the best over left-out people of the smartwatch example."""


def _conv1d(kind: InputKind, shape: Shape) -> tuple[Layer, ...]:
    _expect(shape, (1, 2), "(steps, channels)")
    first: tuple[Layer, ...] = ()
    if len(shape) == 1:
        first = (Layer(LayerKind.RESHAPE, columns=_audio_columns(shape)),)
    if kind is InputKind.TIME_SERIES:
        return (*first, *_MOTION_CONV1D)
    body: list[Layer] = []
    for count in (8, 16):
        body += [
            Layer(LayerKind.CONV1D, units=count, kernel_size=3),
            Layer(LayerKind.DROPOUT, rate=0.25),
        ]
    return (*first, *body, Layer(LayerKind.FLATTEN))


def _grid(shape: Shape) -> tuple[Layer, ...]:
    if len(shape) == 3:
        return ()
    return (Layer(LayerKind.RESHAPE, columns=_audio_columns(shape), channels=1),)


def _conv2d(kind: InputKind, shape: Shape) -> tuple[Layer, ...]:
    _expect(shape, (1, 2, 3), "(frames, bands) or (height, width, channels)")
    conv = LayerKind.CONV2D
    if kind is InputKind.IMAGE:
        return (
            *_grid(shape),
            Layer(conv, units=32, kernel_max_norm=1.0),
            Layer(conv, units=16, kernel_max_norm=1.0),
            Layer(LayerKind.FLATTEN),
            Layer(LayerKind.DROPOUT, rate=0.25),
        )
    return (
        *_grid(shape),
        Layer(conv, units=8, kernel_max_norm=1.0),
        Layer(LayerKind.DROPOUT, rate=0.5),
        Layer(conv, units=16, kernel_max_norm=1.0),
        Layer(LayerKind.DROPOUT, rate=0.5),
        Layer(LayerKind.FLATTEN),
    )


def _normalized(layer: Layer, activation: Activation = Activation.RELU) -> tuple[Layer, ...]:
    return (
        layer,
        Layer(LayerKind.BATCH_NORMALIZATION),
        Layer(LayerKind.ACTIVATION, activation=activation),
    )


def _plain_conv(kind: LayerKind, units: int, kernel: int, stride: int = 1) -> Layer:
    return Layer(
        kind,
        units=units,
        kernel_size=kernel,
        stride=stride,
        pooling=Pooling.NONE,
        activation=Activation.LINEAR,
        no_bias=True,
    )


def _plain_depthwise(stride: int = 1) -> Layer:
    return Layer(
        LayerKind.DEPTHWISE_CONV,
        kernel_size=3,
        stride=stride,
        activation=Activation.LINEAR,
        no_bias=True,
    )


def _ds_cnn(kind: InputKind, shape: Shape) -> tuple[Layer, ...]:
    """Depthwise-separable blocks after one strided convolution (Zhang et al., arXiv 1711.07128)."""
    _expect(shape, (1, 2), "(frames, bands) or (steps, channels)")
    if kind is InputKind.TIME_SERIES:
        conv = LayerKind.CONV1D
        _expect(shape, (2,), "(steps, channels)")
    else:
        conv = LayerKind.CONV2D
    width, blocks = 32, 3
    first = () if conv is LayerKind.CONV1D else _grid(shape)
    layers = [*first, *_normalized(_plain_conv(conv, width, 5, 2))]
    for _ in range(blocks):
        layers += _normalized(_plain_depthwise())
        layers += _normalized(_plain_conv(conv, width, 1))
    return (*layers, Layer(LayerKind.DROPOUT, rate=0.2), Layer(LayerKind.GLOBAL_AVERAGE_POOL))


def _mobilenet(_kind: InputKind, shape: Shape) -> tuple[Layer, ...]:
    """Narrow MobileNet v1 (Howard et al., arXiv 1704.04861): ReLU6, strides instead of pools."""
    _expect(shape, (3,), "(height, width, channels)")
    layers = [*_normalized(_plain_conv(LayerKind.CONV2D, 8, 3, 2), Activation.RELU6)]
    for units, stride in ((16, 1), (32, 2), (32, 1), (64, 2), (64, 1)):
        layers += _normalized(_plain_depthwise(stride), Activation.RELU6)
        layers += _normalized(_plain_conv(LayerKind.CONV2D, units, 1), Activation.RELU6)
    return (*layers, Layer(LayerKind.GLOBAL_AVERAGE_POOL))


def _resnet8(_kind: InputKind, shape: Shape) -> tuple[Layer, ...]:
    """Three residual blocks, as the image benchmark of MLPerf Tiny has them."""
    _expect(shape, (3,), "(height, width, channels)")
    conv = LayerKind.CONV2D
    first = _normalized(_plain_conv(conv, 16, 3))
    layers = [*first[:-1], Layer(LayerKind.ACTIVATION, id="block0")]
    for number, (units, stride) in enumerate(((16, 1), (32, 2), (64, 2)), start=1):
        layers += _normalized(_plain_conv(conv, units, 3, stride))
        layers += _normalized(_plain_conv(conv, units, 3))[:-1]
        projected = number > 1
        layers.append(
            Layer(
                LayerKind.RESIDUAL_ADD,
                add_from=f"block{number - 1}",
                units=units if projected else 0,
                stride=stride if projected else 0,
                activation=Activation.RELU,
                id=f"block{number}",
            )
        )
    return (*layers, Layer(LayerKind.GLOBAL_AVERAGE_POOL))


_AUDIO_FIT = FitDefaults(epochs=100, learning_rate=0.005)
_MODERN_FIT = FitDefaults(epochs=30, learning_rate=0.002)

PRESETS = (
    Preset(
        "dense",
        "Dense",
        (
            InputKind.SPECTRAL,
            InputKind.TABULAR,
            InputKind.TIME_SERIES,
            InputKind.AUDIO,
            InputKind.IMAGE,
        ),
        {},
        _dense,
    ),
    Preset(
        "conv1d",
        "1D Convolutional",
        (InputKind.AUDIO, InputKind.TIME_SERIES),
        {
            InputKind.AUDIO: _AUDIO_FIT,
            InputKind.TIME_SERIES: FitDefaults(epochs=30, learning_rate=0.001),
        },
        _conv1d,
    ),
    Preset(
        "conv2d",
        "2D Convolutional",
        (InputKind.IMAGE, InputKind.AUDIO),
        {
            InputKind.AUDIO: _AUDIO_FIT,
            InputKind.IMAGE: FitDefaults(epochs=20, learning_rate=0.0005),
        },
        _conv2d,
    ),
    Preset(
        "ds-cnn",
        "DS-CNN",
        (InputKind.AUDIO, InputKind.TIME_SERIES),
        {InputKind.AUDIO: _MODERN_FIT, InputKind.TIME_SERIES: _MODERN_FIT},
        _ds_cnn,
    ),
    Preset(
        "mobilenet",
        "MobileNet-like",
        (InputKind.IMAGE,),
        {InputKind.IMAGE: _MODERN_FIT},
        _mobilenet,
    ),
    Preset("resnet-8", "ResNet-8", (InputKind.IMAGE,), {InputKind.IMAGE: _MODERN_FIT}, _resnet8),
)

_DEFAULTS = {
    InputKind.TABULAR: "dense",
    InputKind.SPECTRAL: "dense",
    InputKind.TIME_SERIES: "conv1d",
    InputKind.AUDIO: "conv1d",
    InputKind.IMAGE: "conv2d",
}


def for_input_kind(input_kind: InputKind) -> tuple[Preset, ...]:
    """List the presets that are offered for features of a kind, its default first."""
    default = default_id(input_kind)
    offered = [p for p in PRESETS if input_kind in p.input_kinds]
    return tuple(sorted(offered, key=lambda p: p.id != default))


def default_id(input_kind: InputKind) -> str:
    """Give the id of the preset that features of a kind take where the spec names none."""
    return _DEFAULTS[input_kind]


def get(preset_id: str, input_kind: InputKind | None = None) -> Preset:
    """Find a preset.

    Raises:
        InvalidInput: There is none of that id, or it is not meant for that kind of features.
    """
    for preset in PRESETS:
        if preset.id == preset_id and (input_kind is None or input_kind in preset.input_kinds):
            return preset
    offered = PRESETS if input_kind is None else for_input_kind(input_kind)
    kind = "" if input_kind is None else f" for {input_kind.name} features"
    raise InvalidInput.of(
        "architecture.preset",
        f"expected one of {', '.join(p.id for p in offered)}{kind}, received {preset_id!r}",
        reason="UNKNOWN_PRESET",
    )
