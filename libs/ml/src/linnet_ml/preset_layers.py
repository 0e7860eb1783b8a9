# ruff: noqa: PLR2004 - numbers of axes speak for themselves
"""Layers of the ready-made networks, from the kind of features and the shape of one row."""

from linnet_runtime.errors import InvalidInput

from linnet_ml.spec import Activation, InputKind, Layer, LayerKind, Pooling

Shape = tuple[int, ...]

_FLAT_AUDIO_COLUMNS = (13, 40, 32, 65)
"""Widths of the product's MFCC, MFE and spectrogram blocks, the first that divides is taken."""


def dense(_kind: InputKind, _shape: Shape) -> tuple[Layer, ...]:
    """Two small dense layers."""
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


def conv1d(kind: InputKind, shape: Shape) -> tuple[Layer, ...]:
    """1-D convolutions over time; of raw windows with longer kernels."""
    one_channel = kind is InputKind.AUDIO and shape[2:] == (1,)
    if not one_channel:
        # Only the product's audio blocks have known widths.
        _expect(shape, (2,) if kind is InputKind.TIME_SERIES else (1, 2), "(steps, channels)")
    first: tuple[Layer, ...] = ()
    if len(shape) != 2:
        columns = shape[1] if one_channel else _audio_columns(shape)
        first = (Layer(LayerKind.RESHAPE, columns=columns),)
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


def conv2d(kind: InputKind, shape: Shape) -> tuple[Layer, ...]:
    """2-D convolutions over frames and bands, or over an image."""
    _expect(shape, (1, 2, 3), "(frames, bands) or (height, width, channels)")
    conv = LayerKind.CONV2D
    if kind is InputKind.IMAGE:
        _expect(shape, (2, 3), "(height, width, channels)")
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


def ds_cnn(kind: InputKind, shape: Shape) -> tuple[Layer, ...]:
    """Depthwise-separable blocks after one strided convolution (Zhang et al., arXiv 1711.07128)."""
    _expect(shape, (1, 2, 3), "(frames, bands) or (steps, channels)")
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


def mobilenet(_kind: InputKind, shape: Shape) -> tuple[Layer, ...]:
    """Narrow MobileNet v1 (Howard et al., arXiv 1704.04861): ReLU6, strides instead of pools."""
    _expect(shape, (3,), "(height, width, channels)")
    layers = [*_normalized(_plain_conv(LayerKind.CONV2D, 8, 3, 2), Activation.RELU6)]
    for units, stride in ((16, 1), (32, 2), (32, 1), (64, 2), (64, 1)):
        layers += _normalized(_plain_depthwise(stride), Activation.RELU6)
        layers += _normalized(_plain_conv(LayerKind.CONV2D, units, 1), Activation.RELU6)
    return (*layers, Layer(LayerKind.GLOBAL_AVERAGE_POOL))


def resnet8(_kind: InputKind, shape: Shape) -> tuple[Layer, ...]:
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
