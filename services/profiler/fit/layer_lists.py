"""Layer lists that the estimate before training is held to: presets, each activation, odd ones."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Final

from linnet_ml.layer_fields import with_defaults
from linnet_ml.layers import infer
from linnet_ml.presets import PRESETS
from linnet_ml.spec import Activation, InputKind, Layer, LayerKind, LayerList, Padding, Pooling
from linnet_runtime.errors import InvalidInput

Shape = tuple[int, ...]
Network = tuple[str, LayerList, Shape]
CLASSES: Final = 3
RANDOM_LISTS: Final = 60
_KIND = LayerKind
_SHAPES: Final = (
    (InputKind.SPECTRAL, (33,)),
    (InputKind.TABULAR, (7,)),
    (InputKind.TIME_SERIES, (128, 6)),
    (InputKind.AUDIO, (49, 40)),
    (InputKind.AUDIO, (650,)),
    (InputKind.IMAGE, (48, 48, 1)),
    (InputKind.IMAGE, (96, 96, 3)),
)
_ACTIVATIONS: Final = tuple(kind for kind in Activation if kind is not Activation.UNSPECIFIED)
_UNITS: Final = frozenset({_KIND.DENSE, _KIND.CONV1D, _KIND.CONV2D, _KIND.SEPARABLE_CONV})
_WINDOWS: Final = frozenset(
    {_KIND.CONV1D, _KIND.CONV2D, _KIND.SEPARABLE_CONV, _KIND.DEPTHWISE_CONV}
)
_ANY_SHAPE: Final = [
    _KIND.DENSE,
    _KIND.BATCH_NORMALIZATION,
    _KIND.ACTIVATION,
    _KIND.RESIDUAL_ADD,
    _KIND.RESIDUAL_ADD,
    _KIND.DROPOUT,
]
_WITH_CHANNELS: Final = [
    _KIND.DEPTHWISE_CONV,
    _KIND.SEPARABLE_CONV,
    _KIND.MAX_POOL,
    _KIND.AVERAGE_POOL,
    _KIND.GLOBAL_AVERAGE_POOL,
    _KIND.FLATTEN,
    _KIND.RESHAPE,
]
_BY_AXES: Final = {
    1: [_KIND.RESHAPE, _KIND.RESHAPE],
    2: [*_WITH_CHANNELS, *[_KIND.CONV1D] * 4],
    3: [*_WITH_CHANNELS, *[_KIND.CONV2D] * 4],
}


def filled(layers: tuple[Layer, ...]) -> LayerList:
    """A list with its defaults filled in."""
    return LayerList(tuple(with_defaults(layer) for layer in layers))


def networks() -> Iterator[Network]:
    """All lists: name, layers, input shape."""
    for preset in PRESETS:
        for kind, shape in _SHAPES:
            if kind in preset.input_kinds:
                name = f"{preset.id}-{kind.name.lower()}-{'x'.join(map(str, shape))}"
                yield name, filled(preset.layers(kind, shape).layers), shape
    for activation in _ACTIVATIONS:
        for name, layers, shape in _activated(activation):
            yield f"{name}-{activation.name.lower()}", filled(layers), shape
    for name, layers, shape in _SPECIAL:
        yield name, filled(layers), shape
    for seed in range(RANDOM_LISTS):
        yield _drawn(seed)


def _conv(units: int, **fields: object) -> Layer:
    settings: dict[str, object] = {"pooling": Pooling.NONE, **fields}
    return Layer(_KIND.CONV2D, units=units, **settings)  # type: ignore[arg-type]  # Layer's fields


def _dense(units: int, **fields: object) -> Layer:
    return Layer(_KIND.DENSE, units=units, **fields)  # type: ignore[arg-type]  # Layer's fields


def _add(source: str, **fields: object) -> Layer:
    return Layer(_KIND.RESIDUAL_ADD, add_from=source, **fields)  # type: ignore[arg-type]  # as above


def _activated(kind: Activation) -> Iterator[tuple[str, tuple[Layer, ...], Shape]]:
    image = (12, 10, 2)
    own = Layer(_KIND.ACTIVATION, activation=kind)
    yield "dense", (_dense(16, activation=kind), _dense(8)), (20,)
    convolutions = (
        _conv(8, activation=kind),
        Layer(_KIND.DEPTHWISE_CONV, activation=kind),
        Layer(_KIND.SEPARABLE_CONV, units=6, activation=kind),
    )
    yield "convolutions", convolutions, image
    yield "pool", (Layer(_KIND.MAX_POOL), own, _dense(8)), image
    residual = (
        _conv(2, activation=kind, id="a"),
        _conv(2),
        _add("a", activation=kind),
        Layer(_KIND.GLOBAL_AVERAGE_POOL),
    )
    yield "residual", residual, image
    normalized = (_conv(4), _NORM, own, _FLAT, _dense(5, activation=kind), _NORM)
    yield "normalized", normalized, image
    yield "flattened", (_conv(4), _FLAT, own, _dense(4)), image
    yield "averaged", (_conv(4), _GLOBAL, own, _dense(4)), image


_NORM: Final = Layer(_KIND.BATCH_NORMALIZATION)
_FLAT: Final = Layer(_KIND.FLATTEN)
_GLOBAL: Final = Layer(_KIND.GLOBAL_AVERAGE_POOL)
_LINEAR: Final = Activation.LINEAR
_IMAGE: Final = (10, 10, 2)
_SPECIAL: Final[tuple[tuple[str, tuple[Layer, ...], Shape], ...]] = (
    ("nothing", (), (30,)),
    ("nothing-image", (), _IMAGE),
    ("norm-first", (_NORM, _dense(5)), (20,)),
    ("norm-first-conv", (_NORM, _conv(5)), (20, 12, 3)),
    ("norm-first-mono", (_NORM, _conv(4)), (10, 10, 1)),
    ("norm-first-mono-valid", (_NORM, _conv(4, padding=Padding.VALID)), (10, 10, 1)),
    ("norm-average-norm", (_conv(4), _NORM, _GLOBAL, _NORM, _dense(4)), _IMAGE),
    ("norm-norm", (_conv(4), _NORM, _NORM, _conv(3)), _IMAGE),
    ("linear-linear", (_dense(8, activation=_LINEAR), _dense(4, activation=_LINEAR)), (10,)),
    ("norm-linear", (_dense(8), _NORM, _dense(4, activation=_LINEAR)), (10,)),
    (
        "norm-shared",
        (_dense(8), Layer(_KIND.BATCH_NORMALIZATION, id="x"), _dense(8), _add("x")),
        (10,),
    ),
    (
        "relu-relu",
        (_conv(4), Layer(_KIND.ACTIVATION, activation=Activation.RELU), _conv(3)),
        _IMAGE,
    ),
    (
        "reshapes",
        (
            Layer(_KIND.MAX_POOL),
            Layer(_KIND.RESHAPE, columns=10),
            Layer(_KIND.RESHAPE, columns=5),
            _FLAT,
        ),
        _IMAGE,
    ),
    (
        "lines-and-images",
        (
            Layer(_KIND.CONV1D, units=8, stack=2),
            Layer(_KIND.RESHAPE, columns=4),
            Layer(_KIND.CONV1D, units=6, kernel_size=5, stride=2, padding=Padding.VALID),
            Layer(_KIND.RESHAPE, columns=3, channels=2),
            Layer(_KIND.CONV2D, units=5),
            _FLAT,
            _dense(9),
        ),
        (48, 5),
    ),
    (
        "projections",
        (
            _conv(4, id="x"),
            _conv(8, id="y"),
            _conv(8),
            _add("x", units=8),
            _conv(6),
            _add("x", units=6, id="z"),
            _conv(5),
            _add("y", units=5),
            _conv(7),
            _add("z", units=7),
        ),
        _IMAGE,
    ),
    ("of-input", (_conv(4), _conv(8), _add("input", units=8), Layer(_KIND.MAX_POOL)), _IMAGE),
    ("of-itself", (_conv(4, id="x"), _add("x"), _conv(4)), _IMAGE),
    (
        "of-average",
        (_conv(4), Layer(_KIND.GLOBAL_AVERAGE_POOL, id="g"), _dense(4), _add("g")),
        _IMAGE,
    ),
    (
        "branches",
        (
            _conv(4, id="x"),
            Layer(_KIND.MAX_POOL),
            Layer(_KIND.SEPARABLE_CONV, units=6),
            _add("x", units=6, stride=2, id="y"),
            Layer(_KIND.DEPTHWISE_CONV, stride=2),
            _add("y", units=6, stride=2, activation=Activation.TANH),
        ),
        (16, 16, 2),
    ),
)


def _drawn(seed: int) -> Network:
    """A random list: whatever fits, layer by layer."""
    draw = random.Random(seed)  # noqa: S311 - lists to try, nothing secret
    shape: Shape = draw.choice([(40,), (128, 3), (24, 20, 1), (16, 18, 3), (96,)])
    layers: tuple[Layer, ...] = ()
    wanted = draw.randint(1, 9)
    for step in range(20 * wanted):
        if len(layers) == wanted:
            break
        here = infer(filled(layers), shape, CLASSES)[-1].input_shape
        layer = _draw_layer(draw, here, [layer.id for layer in layers if layer.id], f"n{step}")
        try:
            infer(filled((*layers, layer)), shape, CLASSES)
        except InvalidInput:
            continue
        layers = (*layers, layer)
    return f"random{seed}", filled(layers), shape


def _draw_layer(draw: random.Random, shape: Shape, ids: list[str], own: str) -> Layer:
    kind = draw.choice([*_ANY_SHAPE, *_BY_AXES[len(shape)]])
    activations = [Activation.RELU] * 3 + list(_ACTIVATIONS)
    fields: dict[str, object] = {"id": own if draw.random() < 0.5 else ""}
    if kind in _UNITS:
        fields["units"] = draw.choice([3, 4, 8])
    if kind in _UNITS or kind is _KIND.DEPTHWISE_CONV:
        fields |= {"activation": draw.choice(activations), "no_bias": draw.random() < 0.3}
    if kind in (_KIND.CONV1D, _KIND.CONV2D):
        pooling = [Pooling.NONE, Pooling.MAX, Pooling.AVERAGE]
        fields |= {"pooling": draw.choice(pooling), "stack": draw.choice([1, 1, 2])}
    if kind in _WINDOWS:
        fields |= {
            "kernel_size": draw.choice([1, 3, 5]),
            "stride": draw.choice([1, 1, 2]),
            "padding": draw.choice([Padding.SAME, Padding.VALID]),
        }
    if kind is _KIND.ACTIVATION:
        fields["activation"] = draw.choice(activations)
    if kind is _KIND.RESHAPE:
        fields |= {"columns": draw.choice([2, 4, 5]), "channels": draw.choice([0, 0, 2])}
    if kind is _KIND.DROPOUT:
        fields["rate"] = 0.1
    if kind is _KIND.RESIDUAL_ADD:
        fields |= {"add_from": draw.choice([*ids, "input"]), "activation": draw.choice(activations)}
        if draw.random() < 0.6:
            fields |= {"units": shape[-1], "stride": draw.choice([1, 1, 2])}
    return Layer(kind, **fields)  # type: ignore[arg-type]  # names and types follow the fields
