"""Edge Impulse's `visualLayers`, read into a layer list.

Names are those of its public API model `KerasVisualLayer`; regularizer, constraint, pool and
padding are those of the script that its studio makes of each layer.
"""

from dataclasses import replace

from linnet_runtime.errors import InvalidInput, Violation

from linnet_ml.settings_object import SettingsObject
from linnet_ml.spec import Layer, LayerKind, LayerList

_L1 = 1e-5
_MAX_NORM = 1.0
_TYPES = ("dense", "conv1d", "conv2d", "reshape", "flatten", "dropout", "batchNormalization")


def read_layers(entries: list[SettingsObject]) -> LayerList:
    """Read a list of layers.

    Raises:
        InvalidInput: Names every layer that can't be told, `visualLayers[0].type` and the like.
    """
    layers: list[Layer] = []
    violations: list[Violation] = []
    for index, entry in enumerate(entries):
        try:
            layers.append(_layer(entry, _follows_two_axes(entries[index + 1 :])))
        except InvalidInput as error:
            violations += error.violations
    if violations:
        raise InvalidInput(violations)
    return LayerList(tuple(layers))


def first_columns(entries: list[SettingsObject]) -> int:
    """Give the columns of the first layer that reshapes; 0 without one."""
    kinds = (e for e in entries if e.raw("type") == "reshape" and e.flag("enabled", default=True))
    first = next(kinds, None)
    return first.whole("columns") if first else 0


def _follows_two_axes(later: list[SettingsObject]) -> bool:
    """Say whether the next convolution is two-dimensional: a reshape before it has channels."""
    kinds = (kind for kind in (e.raw("type") for e in later) if kind in ("conv1d", "conv2d"))
    return next(kinds, None) == "conv2d"


def _layer(entry: SettingsObject, grid: bool) -> Layer:
    kind = entry.raw("type")
    if not isinstance(kind, str) or kind not in _TYPES:
        raise InvalidInput.of(
            entry.path("type"), f"expected one of {', '.join(_TYPES)}, received {kind!r:.80}"
        )
    units, kernel, stack = (entry.whole(name) for name in ("neurons", "kernelSize", "stack"))
    known = {
        "dense": Layer(LayerKind.DENSE, units=units, activity_l1=_L1),
        "conv1d": Layer(LayerKind.CONV1D, units=units, kernel_size=kernel, stack=stack),
        "conv2d": Layer(
            LayerKind.CONV2D,
            units=units,
            kernel_size=kernel,
            stack=stack,
            kernel_max_norm=_MAX_NORM,
        ),
        "reshape": Layer(
            LayerKind.RESHAPE, columns=entry.whole("columns"), channels=1 if grid else 0
        ),
        "flatten": Layer(LayerKind.FLATTEN),
        "dropout": Layer(LayerKind.DROPOUT, rate=entry.number("dropoutRate") or 0.0),
        "batchNormalization": Layer(LayerKind.BATCH_NORMALIZATION),
    }
    enabled = None if entry.flag("enabled", default=True) else False
    return replace(known[kind], enabled=enabled)
