"""What TensorFlow Lite's converter makes of a model as it stands, and what an arena it needs."""

import io
import re
import subprocess
import sys
import tempfile
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import numpy as np

_PRINT_ARENA = """
import sys
from pathlib import Path
from tflite_micro.python.tflite_micro import runtime
interpreter = runtime.Interpreter.from_bytes(
    Path(sys.argv[1]).read_bytes(),
    arena_size=int(sys.argv[2]),
    intrepreter_config=runtime.InterpreterConfig.kAllocationRecording,
)
interpreter.invoke()
interpreter.print_allocations()
"""
_TOTAL = re.compile(r"Arena allocation total (\d+) bytes")


def stock(model: Any, rows: np.ndarray) -> tuple[bytes, bytes]:
    """Convert a Keras model as TensorFlow's guide does: float32, and int8 calibrated on rows."""
    import tensorflow as tf

    # It tells about each model on standard output.
    with redirect_stdout(io.StringIO()):
        return _converted(tf, model, rows)


def _converted(tf: Any, model: Any, rows: np.ndarray) -> tuple[bytes, bytes]:
    float32 = tf.lite.TFLiteConverter.from_keras_model(model).convert()
    converter = tf.lite.TFLiteConverter.from_keras_model(model)
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = lambda: ([row[None]] for row in rows)
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    converter.inference_input_type = converter.inference_output_type = tf.int8
    return bytes(float32), bytes(converter.convert())


def arena_bytes(model: bytes, most_bytes: int = 8 << 20) -> int:
    """Give the arena that TFLite Micro's recording interpreter counts, in a process of its own."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.tflite"
        path.write_bytes(model)
        done = subprocess.run(
            [sys.executable, "-c", _PRINT_ARENA, str(path), str(most_bytes)],
            capture_output=True,
            text=True,
            check=True,
        )
    found = _TOTAL.search(done.stdout + done.stderr)
    if found is None:
        raise ValueError(f"expected the arena's total, received {done.stderr[-500:]!r}")
    return int(found.group(1))
