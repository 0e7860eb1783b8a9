"""What a spec would make, presets and kinds of layers, as people read them."""

from collections.abc import Iterable, Sequence

from linnet.v1 import dataset_pb2, run_pb2, spec_pb2
from linnet.v1 import training_service_pb2 as service
from rich.console import Group, RenderableType
from rich.markup import escape
from rich.table import Table

from linnet_sdk.cli.tables import kind_word, new_table


def preview(found: service.ValidateSpecResponse, *, boxed: bool) -> RenderableType:
    """Show layers, estimates and warnings."""
    parts: list[RenderableType] = []
    if found.layers:
        parts.append(_layers(found, boxed=boxed))
    if found.estimates:
        parts += ["", f"estimated for {found.spec.target}", _estimates(found, boxed=boxed)]
    parts += [f"[yellow]warning:[/] {escape(warning)}" for warning in found.warnings]
    return Group(*parts)


def _layers(found: service.ValidateSpecResponse, *, boxed: bool) -> Table:
    table = new_table("layer", "output", "parameters", boxed=boxed, right=("parameters",))
    for layer in found.layers:
        name = "output" if layer.index < 0 else f"{layer.index} {layer.title}"
        shape = " x ".join(str(size) for size in layer.output_shape)
        table.add_row(name, shape, f"{layer.parameter_count:,}")
    table.add_row("total", "", f"{found.parameter_count:,}")
    return table


def _estimates(found: service.ValidateSpecResponse, *, boxed: bool) -> Table:
    table = new_table(
        "variant", "RAM", "flash", "time", "fits", boxed=boxed, right=("RAM", "flash", "time")
    )
    for estimate in found.estimates:
        table.add_row(
            run_pb2.Variant.Name(estimate.variant).removeprefix("VARIANT_").lower(),
            f"{estimate.ram_bytes / 1024:.1f} KiB",
            f"{estimate.flash_bytes / 1024:.1f} KiB",
            f"{estimate.latency_us / 1000:.2f} ms",
            "yes" if estimate.fits else "no",
        )
    return table


def presets(found: Sequence[service.Preset], *, boxed: bool) -> Table:
    """List presets."""
    table = new_table(
        "preset", "title", "inputs", "layers", "epochs", "learning rate",
        boxed=boxed, right=("layers", "epochs", "learning rate"),
    )  # fmt: skip
    for preset in found:
        table.add_row(
            preset.id,
            escape(preset.title),
            _kinds(preset.input_kinds),
            str(len(preset.layers.layers)),
            str(preset.fit.epochs),
            f"{preset.fit.learning_rate:g}",
        )
    return table


def _kinds(kinds: Iterable[dataset_pb2.InputKind.ValueType]) -> str:
    return ", ".join(kind_word(kind) for kind in kinds)


def layer_types(found: Sequence[service.LayerType], *, boxed: bool) -> Table:
    """List kinds of layers and the fields that each takes."""
    table = new_table("kind", "title", "fields", boxed=boxed)
    for layer in found:
        kind = spec_pb2.LayerKind.Name(layer.kind).removeprefix("LAYER_KIND_")
        table.add_row(kind, escape(layer.title), ", ".join(layer.fields))
    return table
