"""Ready-made networks by input kind: the product's own, and small ones that convert well.

The product's layers, cycles and rates are those that its generated scripts and tutorials show:
dense 20-10 for motion features, 1-D and 2-D convolutions 8-16 for audio, 2-D 32-16 for images.
"""

from collections.abc import Callable
from dataclasses import dataclass

from linnet_runtime.errors import InvalidInput

from linnet_ml import preset_layers
from linnet_ml.preset_layers import Shape
from linnet_ml.spec import InputKind, Layer, LayerList


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
        preset_layers.dense,
    ),
    Preset(
        "conv1d",
        "1D Convolutional",
        (InputKind.AUDIO, InputKind.TIME_SERIES),
        {
            InputKind.AUDIO: _AUDIO_FIT,
            InputKind.TIME_SERIES: FitDefaults(epochs=30, learning_rate=0.001),
        },
        preset_layers.conv1d,
    ),
    Preset(
        "conv2d",
        "2D Convolutional",
        (InputKind.IMAGE, InputKind.AUDIO),
        {
            InputKind.AUDIO: _AUDIO_FIT,
            InputKind.IMAGE: FitDefaults(epochs=20, learning_rate=0.0005),
        },
        preset_layers.conv2d,
    ),
    Preset(
        "ds-cnn",
        "DS-CNN",
        (InputKind.AUDIO, InputKind.TIME_SERIES),
        {InputKind.AUDIO: _MODERN_FIT, InputKind.TIME_SERIES: _MODERN_FIT},
        preset_layers.ds_cnn,
    ),
    Preset(
        "mobilenet",
        "MobileNet-like",
        (InputKind.IMAGE,),
        {InputKind.IMAGE: _MODERN_FIT},
        preset_layers.mobilenet,
    ),
    Preset(
        "resnet-8",
        "ResNet-8",
        (InputKind.IMAGE,),
        {InputKind.IMAGE: _MODERN_FIT},
        preset_layers.resnet8,
    ),
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
