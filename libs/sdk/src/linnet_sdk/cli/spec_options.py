"""Training options → TrainingSpec; pure."""

from dataclasses import dataclass
from pathlib import Path

from google.protobuf import json_format
from google.protobuf.message import Message
from linnet.v1 import dataset_pb2, spec_pb2
from linnet_runtime.errors import InvalidInput


@dataclass(frozen=True, slots=True)
class SpecOptions:
    """What the command line says; None leaves the spec file's value or the default."""

    dataset: str | None = None
    spec_file: Path | None = None
    preset: str | None = None
    layers_file: Path | None = None
    script_file: Path | None = None
    epochs: int | None = None
    learning_rate: float | None = None
    batch_size: int | None = None
    seed: int | None = None
    validation_share: float | None = None
    test_share: float | None = None
    test_groups: tuple[str, ...] = ()
    target: str | None = None


INPUT_KINDS = {
    name.removeprefix("INPUT_KIND_").lower().replace("_", "-"): number
    for name, number in dataset_pb2.InputKind.items()
    if number
}
"""What features are, as the command line spells it."""


def input_kind(text: str) -> dataset_pb2.InputKind.ValueType:
    """Read a kind of input; raises `InvalidInput`."""
    if text not in INPUT_KINDS:
        raise InvalidInput.of(
            "dataset.input_kind", f"expected one of {', '.join(INPUT_KINDS)}, received {text!r}"
        )
    return INPUT_KINDS[text]


def build(options: SpecOptions) -> spec_pb2.TrainingSpec:
    """Make the spec: the file's, changed by the options.

    Raises:
        InvalidInput: A file can't be read, or two architectures are named; names the field.
    """
    spec = spec_pb2.TrainingSpec()
    if options.spec_file is not None:
        _parse(options.spec_file, spec, "spec")
    if options.dataset is not None:
        spec.dataset = options.dataset
    if options.target is not None:
        spec.target = options.target
    for name in ("epochs", "learning_rate", "batch_size", "seed"):
        _set(spec.fit, name, getattr(options, name))
    for name in ("validation_share", "test_share"):
        _set(spec.split, name, getattr(options, name))
    if options.test_groups:
        spec.split.test_groups[:] = options.test_groups
    _architecture(options, spec)
    return spec


def _architecture(options: SpecOptions, spec: spec_pb2.TrainingSpec) -> None:
    named = [o for o in (options.preset, options.layers_file, options.script_file) if o is not None]
    if len(named) > 1:
        raise InvalidInput.of(
            "spec.architecture", "expected one of --preset, --layers and --script, received several"
        )
    if options.preset is not None:
        spec.architecture.preset = options.preset
    elif options.layers_file is not None:
        _parse(options.layers_file, spec.architecture.layers, "spec.architecture.layers")
    elif options.script_file is not None:
        spec.architecture.script = _text(options.script_file, "spec.architecture.script")


def _set(message: Message, name: str, value: float | None) -> None:
    if value is None:
        return
    try:
        setattr(message, name, value)
    except (ValueError, TypeError) as error:
        field = message.DESCRIPTOR.name
        raise InvalidInput.of(f"{field}.{name}", str(error)) from error


def _parse(path: Path, message: Message, field: str) -> None:
    text = _text(path, field)
    try:
        json_format.Parse(text, message)
    except json_format.ParseError as error:
        raise InvalidInput.of(field, f"{path} is no {message.DESCRIPTOR.name}: {error}") from error


def _text(path: Path, field: str) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidInput.of(field, f"expected a readable text file: {error}") from error
