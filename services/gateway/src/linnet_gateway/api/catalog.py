"""What the page offers: presets and kinds of layers."""

from linnet.v1 import dataset_pb2, spec_pb2, training_service_pb2
from linnet_ml import presets, wire
from linnet_ml.layer_fields import used_fields
from linnet_ml.spec import FitSettings, InputKind, LayerKind, LayerList
from linnet_runtime.errors import InvalidInput

_USUAL_SHAPES: dict[InputKind, tuple[int, ...]] = {
    InputKind.TABULAR: (16,),
    InputKind.SPECTRAL: (39,),
    InputKind.TIME_SERIES: (100, 3),
    InputKind.AUDIO: (99, 13),
    InputKind.IMAGE: (96, 96, 1),
}
"""Two seconds of a 3-axis sensor at 50 Hz, one second of 13 cepstra, and the like."""

_TITLES = {
    LayerKind.DENSE: "Dense",
    LayerKind.CONV1D: "1D convolution and pool",
    LayerKind.CONV2D: "2D convolution and pool",
    LayerKind.DEPTHWISE_CONV: "Depthwise convolution",
    LayerKind.SEPARABLE_CONV: "Separable convolution",
    LayerKind.MAX_POOL: "Max pool",
    LayerKind.AVERAGE_POOL: "Average pool",
    LayerKind.GLOBAL_AVERAGE_POOL: "Global average pool",
    LayerKind.BATCH_NORMALIZATION: "Batch normalization",
    LayerKind.RESHAPE: "Reshape",
    LayerKind.FLATTEN: "Flatten",
    LayerKind.DROPOUT: "Dropout",
    LayerKind.RESIDUAL_ADD: "Residual add",
    LayerKind.ACTIVATION: "Activation",
}


def list_presets(input_kind: int) -> list[training_service_pb2.Preset]:
    """List the presets of an input kind, its default first; 0 lists all."""
    kind = InputKind(input_kind)
    offered = presets.for_input_kind(kind) if kind else presets.PRESETS
    return [_preset(preset, kind or preset.input_kinds[0]) for preset in offered]


def _preset(preset: presets.Preset, kind: InputKind) -> training_service_pb2.Preset:
    defaults = preset.fit_defaults(kind)
    fit = FitSettings(
        epochs=defaults.epochs,
        learning_rate=defaults.learning_rate,
        batch_size=defaults.batch_size,
    )
    try:
        layers = preset.layers(kind, _USUAL_SHAPES[kind])
    except InvalidInput:
        layers = LayerList()
    return training_service_pb2.Preset(
        id=preset.id,
        title=preset.title,
        input_kinds=[dataset_pb2.InputKind.ValueType(int(k)) for k in preset.input_kinds],
        layers=wire.to_message(layers, spec_pb2.LayerList),
        fit=wire.to_message(fit, spec_pb2.FitSettings),
    )


def list_layer_types() -> list[training_service_pb2.LayerType]:
    """List the kinds of layers and the fields that each uses."""
    return [
        training_service_pb2.LayerType(
            kind=spec_pb2.LayerKind.ValueType(int(kind)),
            title=title,
            fields=sorted(used_fields(kind)),
        )
        for kind, title in _TITLES.items()
    ]
