"""From a template to the runs of a batch: overrides by field path, and grids."""

from math import prod
from typing import Any

from google.protobuf import json_format, struct_pb2
from google.protobuf.message import Message
from linnet.v1 import run_pb2, training_service_pb2
from linnet_runtime.errors import InvalidInput, Violation
from linnet_runtime.rpc.validation import check

MAX_GRID_RUNS = 100_000


def set_field(spec: Message, path: str, value: struct_pb2.Value, where: str) -> None:
    """Set a field of a spec by its path, `fit.learning_rate`, to a value of the JSON mapping.

    Raises:
        InvalidInput: There is no such field, or the value does not fit it; names `where`.
    """
    *parents, last = path.split(".")
    message = spec
    for name in parents:
        field = message.DESCRIPTOR.fields_by_name.get(name)
        if field is None or field.message_type is None or field.is_repeated:
            raise InvalidInput.of(where, f"expected a field of the spec, received {path!r}")
        message = getattr(message, name)
        message.SetInParent()
    field = message.DESCRIPTOR.fields_by_name.get(last)
    if field is None:
        known = ", ".join(sorted(message.DESCRIPTOR.fields_by_name))
        raise InvalidInput.of(where, f"expected one of {known}, received {path!r}")
    message.ClearField(last)
    try:
        plain: Any = json_format.MessageToDict(value)
        if isinstance(plain, float) and plain.is_integer():
            plain = int(plain)
        json_format.ParseDict({last: plain}, message)
    except (json_format.Error, ValueError) as error:
        raise InvalidInput.of(where, f"expected a value for {path!r}: {error}") from error


def overridden(
    template: run_pb2.Run, override: training_service_pb2.RunOverride, where: str
) -> run_pb2.Run:
    """Make a run of a template and the changes to it."""
    run = run_pb2.Run()
    run.CopyFrom(template)
    for path, value in sorted(override.values.items()):
        set_field(run.spec, path, value, f"{where}.values[{path!r}]")
    run.display_name = override.display_name or run.display_name
    run.labels.update(override.labels)
    run.predecessor = override.predecessor or run.predecessor
    check_changed(run, where)
    return run


def check_changed(run: run_pb2.Run, where: str) -> None:
    """Hold a run that was made here to the contract's rules, as one that came whole is.

    Raises:
        InvalidInput: Names every wrong field, below `where`.
    """
    try:
        check(run)
    except InvalidInput as error:
        raise InvalidInput(
            [Violation(f"{where}.{v.field}", v.description) for v in error.violations],
            reason=error.reason,
        ) from error


def grid_size(header: training_service_pb2.BatchHeader) -> int:
    """Count the runs of a header's grid; raises `InvalidInput` if they are too many."""
    if not header.grid:
        return 0
    size = prod(len(axis.values) for axis in header.grid)
    if size > MAX_GRID_RUNS:
        raise InvalidInput.of(
            "header.grid", f"expected at most {MAX_GRID_RUNS} combinations, received {size}"
        )
    return size


def grid_run(header: training_service_pb2.BatchHeader, index: int) -> run_pb2.Run:
    """Make a run of a header's grid, the last axis fastest; raises `InvalidInput`."""
    run = run_pb2.Run()
    run.CopyFrom(header.template)
    places = []
    for axis in reversed(header.grid):
        index, place = divmod(index, len(axis.values))
        places.append(place)
    for number, (axis, place) in enumerate(zip(header.grid, reversed(places), strict=True)):
        set_field(run.spec, axis.field, axis.values[place], f"header.grid[{number}]")
    check_changed(run, "header.grid")
    return run
