"""What the export child does: files in, .tflite files out."""

import contextlib
import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from linnet_ml.spec import ExportOptions, LayerList
from linnet_ml.wire import from_json

from linnet_trainer.file_names import CALIBRATION, FLOAT32, INT8, LAYERS, WEIGHTS

Event = Callable[[Mapping[str, Any]], None]

_exporters: list[Any] = []
"""The child's one exporter, made with its first job, so that importing this costs nothing."""


def export(arguments: Mapping[str, Any], _event: Event) -> Mapping[str, Any]:
    """Export one run.

    Args:
        arguments: `folder` with layers, weights and calibration rows, `input_shape`,
            `class_count`, and the export options `skip_int8`, `int8_io`, `per_tensor_dense`.

    Returns:
        `seconds`, `input_shape` of the exported model, `error` of the int8 variant if it has one.
    """
    from linnet.v1 import spec_pb2
    from linnet_ml import device_ops

    from linnet_trainer.export import convert
    from linnet_trainer.export.tflite_edit import for_device

    if not _exporters:
        quiet()
        _exporters.append(convert.Exporter())
    begun = time.monotonic()
    folder = Path(arguments["folder"])
    layers = from_json(LayerList, (folder / LAYERS).read_text(), spec_pb2.LayerList())
    plan = device_ops.plan(layers, tuple(arguments["input_shape"]), arguments["class_count"])
    arrays = plan.arrays(_read_weights(folder / WEIGHTS))
    options = convert.Int8Options.of(
        ExportOptions(int8_io=arguments["int8_io"], per_tensor_dense=arguments["per_tensor_dense"])
    )
    exporter = _exporters[0]
    float_raw = exporter.float32(plan, arrays)
    (folder / FLOAT32).write_bytes(for_device(float_raw))
    error = ""
    if not arguments["skip_int8"]:
        rows = np.load(folder / CALIBRATION).reshape(-1, *plan.input_shape[1:])
        try:
            int8 = for_device(convert.int8_model(float_raw, rows, options))
            (folder / INT8).write_bytes(int8)
        except (RuntimeError, ValueError) as problem:
            error = str(problem)
    return {
        "seconds": time.monotonic() - begun,
        "input_shape": list(plan.input_shape),
        "error": error,
    }


def _read_weights(path: Path) -> list[tuple[np.ndarray, ...]]:
    with np.load(path) as archive:
        found: dict[int, list[np.ndarray]] = {}
        for name in archive.files:
            layer, _ = name.split("_")
            found.setdefault(int(layer), []).append(archive[name])
    return [tuple(found[index]) for index in sorted(found)]


def quiet() -> None:
    """Send the converter's own chatter nowhere; it writes past Python."""
    import faulthandler
    import logging
    import warnings

    faulthandler.disable()
    warnings.simplefilter("ignore")
    logging.getLogger("absl").setLevel(logging.ERROR)
    with contextlib.suppress(OSError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, 1)
        os.dup2(nowhere, 2)
        os.close(nowhere)


def check(arguments: Mapping[str, Any], event: Event) -> Mapping[str, Any]:
    """Have TFLite Micro load and run models once; a refusal may end the child.

    Args:
        arguments: `folder` and `names` of the models and `arena_bytes` of each, more than they can
            need.
        event: Told of each model that did not end the child.

    Returns:
        `errors` by name of those that were refused; none where the interpreter is not installed.
    """
    quiet()
    try:
        from tflite_micro.python.tflite_micro import runtime
    except ImportError:
        return {"errors": {}}
    errors = {}
    for name, arena_bytes in zip(arguments["names"], arguments["arena_bytes"], strict=True):
        model = Path(arguments["folder"], name).read_bytes()
        try:
            interpreter = runtime.Interpreter.from_bytes(model, arena_size=arena_bytes)
            details = interpreter.get_input_details(0)
            interpreter.set_input(np.zeros(details["shape"], dtype=details["dtype"]), 0)
            interpreter.invoke()
            interpreter.get_output(0)
        except (RuntimeError, ValueError) as problem:
            errors[name] = str(problem)
        event({"passed": name})
    return {"errors": errors}
