"""Exports the layer lists of `layer_lists` with the trainer's exporter, for the tests.

Run `python services/profiler/fit/export_layer_lists.py`, some minutes; it needs TensorFlow and
writes tests/data/profiler/layer_lists.zip. Weights are set to zero in the files: neither memory nor
operators hang on them, and zeros take no room in the archive.
"""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any, Final

import numpy as np
from layer_lists import CLASSES, networks
from linnet_ml.device_ops import plan
from linnet_ml.device_plan import DevicePlan
from linnet_profiler.tflite.parser import parse

OUTPUT: Final = Path(__file__).parents[3] / "tests" / "data" / "profiler" / "layer_lists.zip"
VARIANTS: Final = ("float32", "int8", "int8-float-io", "int8-per-tensor")
CALIBRATION_ROWS: Final = 8
# Shapes, axes and the like stay.
LARGEST_KEPT_BYTES: Final = 16


def exported(device_plan: DevicePlan, exporter: Any) -> dict[str, bytes]:
    """Every variant of a plan, with random weights."""
    from linnet_trainer.export import convert
    from linnet_trainer.export.tflite_edit import for_device

    draw = np.random.Generator(np.random.PCG64(1))
    arrays = [
        tuple(draw.normal(0, 0.1, shape).astype(np.float32) for shape in op.arrays)
        for op in device_plan.ops
        if op.arrays
    ]
    shape = (CALIBRATION_ROWS, *device_plan.input_shape[1:])
    rows = draw.normal(0, 1, shape).astype(np.float32)
    raw = exporter.float32(device_plan, arrays)
    files = {"float32": for_device(raw)}
    for name in VARIANTS[1:]:
        options = convert.Int8Options(name == "int8-float-io", name == "int8-per-tensor")
        files[name] = for_device(convert.int8_model(raw, rows, options))
    return {name: without_weights(data) for name, data in files.items()}


def without_weights(data: bytes) -> bytes:
    """The same file with its larger constants set to zero."""
    blank = bytearray(data)
    for tensor in parse(data).main.tensors:
        if tensor.data is not None and len(tensor.data) > LARGEST_KEPT_BYTES:
            place = data.find(tensor.data.tobytes())
            blank[place : place + len(tensor.data)] = bytes(len(tensor.data))
    return bytes(blank)


def main() -> None:
    """Export and write."""
    from linnet_trainer.export import convert

    exporter = convert.Exporter()
    with zipfile.ZipFile(OUTPUT, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for name, layers, shape in networks():
            files = exported(plan(layers, shape, CLASSES), exporter)
            for variant, data in files.items():
                entry = zipfile.ZipInfo(f"{name}/{variant}.tflite")
                entry.compress_type = zipfile.ZIP_DEFLATED
                archive.writestr(entry, data)


if __name__ == "__main__":
    main()
