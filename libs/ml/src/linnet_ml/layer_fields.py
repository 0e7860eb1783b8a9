"""Which fields a kind of layer uses, their defaults, and the refusal of all others."""

from collections.abc import Callable
from dataclasses import dataclass, fields, replace

from linnet_runtime.errors import InvalidInput, Violation

from linnet_ml.spec import Activation, Layer, LayerKind, LayerList, Padding, Pooling

_ALWAYS = {"kind", "enabled", "id"}
_WINDOW = {"kernel_size", "kernel_width", "stride", "padding"}


@dataclass(frozen=True, slots=True)
class _Kind:
    uses: frozenset[str]
    required: frozenset[str] = frozenset()


def _kind(uses: set[str], required: set[str] | None = None) -> _Kind:
    return _Kind(frozenset(uses | (required or set())), frozenset(required or set()))


_KINDS = {
    LayerKind.DENSE: _kind({"activation", "no_bias", "activity_l1"}, {"units"}),
    LayerKind.CONV1D: _kind(
        (_WINDOW - {"kernel_width"})
        | {"activation", "stack", "pooling", "pool_size", "no_bias", "kernel_max_norm"},
        {"units"},
    ),
    LayerKind.CONV2D: _kind(
        _WINDOW | {"activation", "stack", "pooling", "pool_size", "no_bias", "kernel_max_norm"},
        {"units"},
    ),
    LayerKind.DEPTHWISE_CONV: _kind(_WINDOW | {"activation", "depth_multiplier", "no_bias"}),
    LayerKind.SEPARABLE_CONV: _kind(
        _WINDOW | {"activation", "depth_multiplier", "no_bias"}, {"units"}
    ),
    LayerKind.MAX_POOL: _kind(_WINDOW),
    LayerKind.AVERAGE_POOL: _kind(_WINDOW),
    LayerKind.GLOBAL_AVERAGE_POOL: _kind(set()),
    LayerKind.BATCH_NORMALIZATION: _kind(set()),
    LayerKind.RESHAPE: _kind({"channels"}, {"columns"}),
    LayerKind.FLATTEN: _kind(set()),
    LayerKind.DROPOUT: _kind({"rate"}),
    LayerKind.RESIDUAL_ADD: _kind({"units", "stride", "activation"}, {"add_from"}),
    LayerKind.ACTIVATION: _kind({"activation"}),
}

_CONVOLUTIONS = {
    LayerKind.CONV1D,
    LayerKind.CONV2D,
    LayerKind.DEPTHWISE_CONV,
    LayerKind.SEPARABLE_CONV,
}
_POOLS = {LayerKind.MAX_POOL, LayerKind.AVERAGE_POOL}


def used_fields(kind: LayerKind) -> frozenset[str]:
    """Name the fields that a kind of layer uses, besides kind, enabled and id."""
    return _KINDS[kind].uses


def check_fields(layers: LayerList, path: Callable[[int], str]) -> None:
    """Refuse layers with a field that their kind does not use, or without one that it needs.

    Raises:
        InvalidInput: Names every such field.
    """
    violations: list[Violation] = []
    ids: set[str] = set()
    for index, layer in enumerate(layers.layers):
        violations += _violations(layer, path(index))
        if layer.id:
            if layer.id in ids or layer.id == "input":
                violations.append(
                    Violation(f"{path(index)}.id", f"expected a new id, received {layer.id!r}")
                )
            ids.add(layer.id)
    if violations:
        raise InvalidInput(violations)


def _violations(layer: Layer, path: str) -> list[Violation]:
    rules = _KINDS.get(layer.kind)
    if rules is None:
        return [Violation(f"{path}.kind", f"expected a kind of layer, received {layer.kind!r}")]
    found = []
    for field in fields(layer):
        value = getattr(layer, field.name)
        name = f"{path}.{field.name}"
        if isinstance(value, int | float) and not isinstance(value, bool) and not value >= 0:
            found.append(Violation(name, f"expected zero or more, received {value}"))
        elif value and field.name not in rules.uses | _ALWAYS:
            found.append(
                Violation(name, f"expected nothing, {layer.kind.name} has no such setting")
            )
        elif not value and field.name in rules.required:
            found.append(Violation(name, f"expected a value, {layer.kind.name} needs one"))
    if layer.rate >= 1:
        found.append(Violation(f"{path}.rate", f"expected below 1, received {layer.rate}"))
    if layer.kind is LayerKind.RESIDUAL_ADD and layer.stride and not layer.units:
        found.append(Violation(f"{path}.stride", "expected nothing without units (a projection)"))
    if (
        layer.kind in _POOLS
        and layer.stride == 0
        and layer.kernel_width
        not in {
            0,
            layer.kernel_size,
        }
    ):
        found.append(Violation(f"{path}.stride", "expected a value when the window is no square"))
    return found


def with_defaults(layer: Layer) -> Layer:
    """Fill in the defaults of one layer; the contract documents them."""
    changes: dict[str, object] = {"enabled": layer.enabled is not False}
    kind = layer.kind
    if kind in _CONVOLUTIONS:
        changes |= {
            "kernel_size": layer.kernel_size or 3,
            "stride": layer.stride or 1,
            "padding": layer.padding or Padding.SAME,
        }
    if kind in _POOLS:
        window = layer.kernel_size or 2
        changes |= {
            "kernel_size": window,
            "stride": layer.stride or window,
            "padding": layer.padding or Padding.SAME,
        }
    if kind in {LayerKind.CONV1D, LayerKind.CONV2D}:
        pooling = layer.pooling or Pooling.MAX
        changes |= {
            "stack": layer.stack or 1,
            "pooling": pooling,
            "pool_size": 0 if pooling is Pooling.NONE else layer.pool_size or 2,
        }
    if kind in {LayerKind.DEPTHWISE_CONV, LayerKind.SEPARABLE_CONV}:
        changes["depth_multiplier"] = layer.depth_multiplier or 1
    if kind is LayerKind.RESIDUAL_ADD and layer.units:
        changes["stride"] = layer.stride or 1
    if "activation" in _KINDS[kind].uses:
        plain = kind is LayerKind.RESIDUAL_ADD
        default = Activation.LINEAR if plain else Activation.RELU
        changes["activation"] = layer.activation or default
    return replace(layer, **changes)  # type: ignore[arg-type]  # names and types follow the fields
