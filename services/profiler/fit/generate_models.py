"""Generates models of many kinds, for the comparison of the replay with the real interpreter.

Run `python services/profiler/fit/generate_models.py` (needs TensorFlow); it writes
tests/data/profiler/generated_models.zip. Weights are random: nothing here depends on them.
"""

from __future__ import annotations

import os
import sys
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
import tensorflow as tf
from generated_graphs import GRAPHS, Graph

OUTPUT: Final = Path(__file__).parents[3] / "tests" / "data" / "profiler" / "generated_models.zip"
STAMP: Final = (2026, 1, 1, 0, 0, 0)
INT16X8: Final = tf.lite.OpsSet.EXPERIMENTAL_TFLITE_BUILTINS_ACTIVATIONS_INT16_WEIGHTS_INT8


def convert(graph: Graph, variant: str) -> bytes:
    """The .tflite file of a graph.

    Args:
        graph: What to convert.
        variant: f32, i8, i16 (int16 activations, int8 weights), f16 (weights), dyn (weights).
    """
    if graph.frozen and isinstance(graph.holder, tf.keras.Model):
        converter = tf.lite.TFLiteConverter.from_keras_model(graph.holder)
    else:
        specs = [tf.TensorSpec(shape, dtype) for shape, dtype in graph.inputs]
        function = tf.function(graph.compute, input_signature=specs).get_concrete_function()
        converter = tf.lite.TFLiteConverter.from_concrete_functions([function], graph.holder)
        converter.experimental_enable_resource_variables = not graph.frozen
    if variant == "f32":
        return bytes(converter.convert())
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    if variant == "f16":
        converter.target_spec.supported_types = [tf.float16]
    elif variant in ("i8", "i16"):
        converter.representative_dataset = lambda: _samples(graph)
        eight = tf.lite.OpsSet.TFLITE_BUILTINS_INT8
        converter.target_spec.supported_ops = [eight if variant == "i8" else INT16X8]
        if not graph.float_io:
            kind = tf.int8 if variant == "i8" else tf.int16
            converter.inference_input_type = kind
            converter.inference_output_type = kind
    return bytes(converter.convert())


def _samples(graph: Graph) -> Iterator[list[Any]]:
    random = np.random.default_rng(7)
    for _ in range(4):
        yield [
            random.uniform(graph.low, 1, [size or 1 for size in shape]).astype(dtype.as_numpy_dtype)
            for shape, dtype in graph.inputs
        ]


def main() -> None:
    """Convert every graph in every variant that it names; say which can't be converted."""
    wanted = sys.argv[1:]
    target = Path(os.environ.get("GENERATED", OUTPUT))
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for name, make in GRAPHS.items():
            if wanted and not any(name.startswith(prefix) for prefix in wanted):
                continue
            _write(archive, name, make)


def _write(archive: zipfile.ZipFile, name: str, make: Callable[[], Graph]) -> None:
    tf.keras.utils.set_random_seed(3)
    for variant in make().variants:
        try:
            data = convert(make(), variant)
        except Exception as error:  # noqa: BLE001 - the converter raises what it likes
            print(f"{name}/{variant}: {str(error).strip().splitlines()[-1][:120]}")
            continue
        archive.writestr(zipfile.ZipInfo(f"{name}/{variant}.tflite", STAMP), data)


if __name__ == "__main__":
    main()
