"""What the export child does: files in, .tflite files out."""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from linnet_ml.spec import ExportOptions, LayerList, TensorIo
from linnet_ml.wire import from_json

from linnet_trainer.export import last_words
from linnet_trainer.file_names import CALIBRATION, FLOAT32, INT8, LAYERS, WEIGHTS

Event = Callable[[Mapping[str, Any]], None]

LONGEST_ERROR = 2000

_exporters: list[Any] = []
"""The child's one exporter, made with its first job, so that importing this costs nothing."""


def export(arguments: Mapping[str, Any], event: Event) -> Mapping[str, Any]:
    """Export one run.

    Args:
        arguments: `folder` with layers, weights and calibration rows, `input_shape`,
            `class_count`, and the export options `skip_int8`, `int8_io`, `per_tensor_dense`.
        event: Told the name of each file as soon as it is whole.

    Returns:
        `error`: why the next file is missing; empty when none is.
    """
    folder = Path(arguments["folder"])
    last_words.keep(folder)
    try:
        for name, made in _variants(arguments, folder):
            (folder / name).write_bytes(made)
            event({"made": name})
    except Exception as problem:  # noqa: BLE001 - converters raise errors of many kinds
        return {"error": error_text(problem)}
    return {"error": ""}


def _variants(arguments: Mapping[str, Any], folder: Path) -> Iterator[tuple[str, bytes]]:
    from linnet.v1 import spec_pb2
    from linnet_ml import device_ops

    from linnet_trainer.export import convert
    from linnet_trainer.export.tflite_edit import for_device

    if not _exporters:
        _exporters.append(convert.Exporter())
    layers = from_json(LayerList, (folder / LAYERS).read_text(), spec_pb2.LayerList())
    plan = device_ops.plan(layers, tuple(arguments["input_shape"]), arguments["class_count"])
    arrays = plan.arrays(_read_weights(folder / WEIGHTS))
    float_raw = _exporters[0].float32(plan, arrays)
    yield FLOAT32, for_device(float_raw)
    if arguments["skip_int8"]:
        return
    options = convert.Int8Options.of(
        ExportOptions(
            int8_io=TensorIo(arguments["int8_io"]), per_tensor_dense=arguments["per_tensor_dense"]
        )
    )
    rows = np.load(folder / CALIBRATION).reshape(-1, *plan.input_shape[1:])
    yield INT8, for_device(convert.int8_model(float_raw, rows, options))


def error_text(problem: Exception) -> str:
    """Tell an error that a converter raised; some have no text of their own."""
    kind = type(problem).__name__
    said = str(problem).strip()
    told = said if isinstance(problem, RuntimeError | ValueError) and said else f"{kind}: {said}"
    return told.removesuffix(": ")[:LONGEST_ERROR]


def _read_weights(path: Path) -> list[tuple[np.ndarray, ...]]:
    with np.load(path) as archive:
        found: dict[int, list[np.ndarray]] = {}
        for name in archive.files:
            layer, _ = name.split("_")
            found.setdefault(int(layer), []).append(archive[name])
    return [tuple(found[index]) for index in sorted(found)]


def check(arguments: Mapping[str, Any], event: Event) -> Mapping[str, Any]:
    """Have TFLite Micro load and run models once; a refusal may end the child.

    Args:
        arguments: `folder` and `names` of the models and `arena_bytes` of each, more than they can
            need.
        event: Told of each model that did not end the child.

    Returns:
        `errors` by name of those that were refused; `unchecked`, why the interpreter could not be
        loaded, empty where it was.
    """
    folder = Path(arguments["folder"])
    last_words.keep(folder)
    try:
        from tflite_micro.python.tflite_micro import runtime
    except ImportError as problem:
        return {"errors": {}, "unchecked": error_text(problem)}
    errors = {}
    for name, arena_bytes in zip(arguments["names"], arguments["arena_bytes"], strict=True):
        last_words.keep(folder)
        try:
            _run_once(runtime, (folder / name).read_bytes(), arena_bytes)
        except Exception as problem:  # noqa: BLE001 - whatever it is, it refuses the model
            # The interpreter's own reason goes past Python.
            errors[name] = last_words.said(folder) or error_text(problem)
        event({"passed": name})
    return {"errors": errors, "unchecked": ""}


def _run_once(runtime: Any, model: bytes, arena_bytes: int) -> None:
    interpreter = runtime.Interpreter.from_bytes(model, arena_size=arena_bytes)
    details = interpreter.get_input_details(0)
    interpreter.set_input(np.zeros(details["shape"], dtype=details["dtype"]), 0)
    interpreter.invoke()
    interpreter.get_output(0)
