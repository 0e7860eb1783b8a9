"""Batch options → what is streamed to the gateway; pure."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from google.protobuf import json_format
from google.protobuf.message import Message
from google.protobuf.struct_pb2 import Value
from linnet.v1 import batch_pb2, run_pb2, spec_pb2
from linnet.v1 import training_service_pb2 as service
from linnet_runtime.errors import InvalidInput

from linnet_sdk.batch_chunks import Item

M = TypeVar("M", bound=Message)


@dataclass(frozen=True, slots=True)
class BatchOptions:
    """What the command line says of a batch beside its template.

    Attributes:
        title: For people.
        grid: `field=value,value`, one an axis.
        overrides_file: JSON lines, each a RunOverride: a change of the template.
        runs_file: JSON lines, each a Run.
        shard_size: Runs of one shard; 0 lets the gateway choose.
        parallelism: Shards at once; 0 means the project's limit.
        priority: Higher goes first within the project.
    """

    title: str = ""
    grid: Sequence[str] = ()
    overrides_file: Path | None = None
    runs_file: Path | None = None
    shard_size: int = 0
    parallelism: int = 0
    priority: int = 0


def header(options: BatchOptions, template: spec_pb2.TrainingSpec) -> service.BatchHeader:
    """Make the header: template, grid and limits.

    Raises:
        InvalidInput: An axis can't be read.
    """
    return service.BatchHeader(
        batch=batch_pb2.Batch(
            display_name=options.title,
            shard_size=options.shard_size,
            parallelism=options.parallelism,
            priority=options.priority,
        ),
        template=run_pb2.Run(spec=template),
        grid=[axis(text) for text in options.grid],
    )


def items(options: BatchOptions, template: spec_pb2.TrainingSpec) -> list[Item]:
    """Give the runs beside the grid's: those of the files, else the template itself.

    Raises:
        InvalidInput: A file can't be read; names file and line.
    """
    found: list[Item] = []
    if options.runs_file is not None:
        found += _lines(options.runs_file, run_pb2.Run, "runs")
    if options.overrides_file is not None:
        found += _lines(options.overrides_file, service.RunOverride, "overrides")
    if not found and not options.grid:
        found.append(run_pb2.Run(spec=template))
    return found


def axis(text: str) -> service.GridAxis:
    """Read `fit.learning_rate=0.001,0.01`, or `architecture.layers=[...]` with a JSON list.

    Raises:
        InvalidInput: There is no field or no value.
    """
    field, equals, listed = text.partition("=")
    if not field or not equals or not listed:
        raise InvalidInput.of(
            "grid", f"expected FIELD=VALUE,VALUE such as fit.epochs=10,20, received {text!r}"
        )
    if listed.startswith("["):
        try:
            values: list[Any] = json.loads(listed)
        except ValueError as error:
            raise InvalidInput.of("grid", f"{field}: expected a JSON list: {error}") from error
    else:
        values = [_scalar(part.strip()) for part in listed.split(",")]
    return service.GridAxis(field=field.strip(), values=[_value(value) for value in values])


def _scalar(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text


def _value(plain: Any) -> Value:
    return json_format.ParseDict(plain, Value())


def _lines(path: Path, kind: type[M], field: str) -> list[M]:
    try:
        texts = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidInput.of(field, f"expected a readable text file: {error}") from error
    found = []
    for number, text in enumerate(texts, start=1):
        if not text.strip():
            continue
        try:
            found.append(json_format.Parse(text, kind()))
        except json_format.ParseError as error:
            name = kind.__name__
            raise InvalidInput.of(field, f"{path}:{number} is no {name}: {error}") from error
    return found
