"""Device plan to .tflite: full conversion once an architecture, then a template that is filled.

The converter's output for two models of one architecture differs in constants only, so the float
template's buffers are overwritten with a run's arrays and TensorFlow Lite's own last two steps,
calibrating and quantizing, run on that. Both are private parts of TensorFlow, whose version is
pinned; a test holds the result equal to a full conversion, byte by byte.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import tensorflow as tf
from linnet_ml.device_plan import Array, DevicePlan, OpKind
from linnet_ml.spec import ExportOptions, TensorIo
from numpy.typing import NDArray
from tensorflow.lite.python import convert as tflite_convert
from tensorflow.lite.python.optimize import calibrator

from linnet_trainer.export.device_graph import concrete_function
from linnet_trainer.export.tflite_edit import for_device

Arrays = Sequence[tuple[Array, ...]]


@dataclass(frozen=True, slots=True)
class Int8Options:
    """How the int8 variant is made."""

    float_io: bool
    per_tensor_dense: bool

    @classmethod
    def of(cls, export: ExportOptions) -> "Int8Options":
        """Read resolved options of a spec."""
        return cls(export.int8_io is TensorIo.FLOAT32, export.per_tensor_dense)


def float_model(plan: DevicePlan, arrays: Arrays) -> bytes:
    """Convert to float32 with TensorFlow Lite's converter; not yet edited for the device."""
    function = concrete_function(plan, arrays)
    converter = tf.lite.TFLiteConverter.from_concrete_functions([function], None)
    return bytes(converter.convert())


def int8_model(model: bytes, calibration: NDArray[np.float32], options: Int8Options) -> bytes:
    """Calibrate a float model on rows and quantize it; not yet edited for the device.

    Args:
        model: What `float_model` gives.
        calibration: Scaled training rows, shape (n, *input shape of the model without batch).
        options: Types and scales.
    """
    prepared = calibrator.add_intermediate_tensors(model)

    def rows() -> Iterator[list[NDArray[np.float32]]]:
        for row in calibration:
            yield [row[np.newaxis]]

    calibrated = calibrator.Calibrator(prepared).calibrate(rows)
    io = tf.float32 if options.float_io else tf.int8
    return bytes(
        tflite_convert.mlir_quantize(
            calibrated,
            input_data_type=io,
            output_data_type=io,
            disable_per_channel_for_dense_layers=options.per_tensor_dense,
        )
    )


class Template:
    """A converted float model whose constants are overwritten for each run."""

    def __init__(self, plan: DevicePlan) -> None:
        self._plan = plan
        rng = np.random.Generator(np.random.PCG64(0))
        # Distinct values, since the converter merges equal constants.
        drawn = [
            tuple(rng.normal(0.0, 0.1, shape).astype(np.float32) for shape in op.arrays)
            for op in plan.ops
            if op.arrays
        ]
        self._model = bytearray(float_model(plan, drawn))
        self._places = _places(plan, drawn, bytes(self._model))

    @property
    def usable(self) -> bool:
        """Whether every array was found in the converted model."""
        return self._places is not None

    def fill(self, arrays: Arrays) -> bytes:
        """Give the float model of other arrays of the same plan."""
        assert self._places is not None
        filled = self._model
        for place, data in zip(self._places, _device_bytes(self._plan, arrays), strict=True):
            filled[place : place + len(data)] = data
        return bytes(filled)


def _device_bytes(plan: DevicePlan, arrays: Arrays) -> Iterator[bytes]:
    """Give every array as the format stores it: outputs first, depthwise kernels as they are."""
    owners = [op for op in plan.ops if op.arrays]
    for op, own in zip(owners, arrays, strict=True):
        for number, array in enumerate(own):
            stored = array
            if number == 0 and op.kind in {OpKind.CONV, OpKind.DENSE}:
                stored = np.moveaxis(array, -1, 0)
            yield np.ascontiguousarray(stored, dtype="<f4").tobytes()


def _places(plan: DevicePlan, arrays: Arrays, model: bytes) -> list[int] | None:
    places = []
    for data in _device_bytes(plan, arrays):
        place = model.find(data)
        if place < 0 or model.find(data, place + 1) >= 0:
            return None
        places.append(place)
    return places


class Exporter:
    """Exports runs; keeps a template for each architecture that it has met."""

    def __init__(self, templates: int = 64) -> None:
        self._templates: dict[str, Template] = {}
        self._most = templates

    def float32(self, plan: DevicePlan, arrays: Arrays) -> bytes:
        """Give the float model, not yet edited; from a template where there is one.

        The first model of an architecture is converted in full.
        """
        key = plan.key()
        template = self._templates.get(key)
        if template is None:
            template = Template(plan)
            if len(self._templates) >= self._most:
                self._templates.pop(next(iter(self._templates)))
            self._templates[key] = template
        return template.fill(arrays) if template.usable else float_model(plan, arrays)

    def export(
        self,
        plan: DevicePlan,
        arrays: Arrays,
        calibration: NDArray[np.float32] | None,
        options: Int8Options,
    ) -> tuple[bytes, bytes | None]:
        """Give the float32 model and, with calibration rows, the int8 one, both for the device."""
        model = self.float32(plan, arrays)
        int8 = None
        if calibration is not None:
            shaped = calibration.reshape(-1, *plan.input_shape[1:])
            int8 = for_device(int8_model(model, shaped, options))
        return for_device(model), int8
