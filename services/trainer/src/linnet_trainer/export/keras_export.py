"""Exports any Keras model: frozen at batch 1, converted, edited for the device."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import tensorflow as tf
from linnet_ml.spec import ExportOptions, TensorIo
from numpy.typing import NDArray
from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

from linnet_trainer.export.tflite_edit import for_device


def _converter(model: Any) -> Any:
    signature = [tf.TensorSpec((1, *model.input_shape[1:]), tf.float32, name="features")]
    function = tf.function(lambda rows: model(rows, training=False), input_signature=signature)
    frozen = convert_variables_to_constants_v2(function.get_concrete_function())
    return tf.lite.TFLiteConverter.from_concrete_functions([frozen], None)


def float32(model: Any) -> bytes:
    """Convert to float32."""
    return for_device(bytes(_converter(model).convert()))


def int8(model: Any, calibration: NDArray[np.float32], options: ExportOptions) -> bytes:
    """Convert to full int8, calibrated on rows of shape (n, *row shape)."""

    def rows() -> Iterator[list[NDArray[np.float32]]]:
        for row in calibration:
            yield [row[np.newaxis]]

    converter = _converter(model)
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = rows
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    io = tf.float32 if options.int8_io == TensorIo.FLOAT32 else tf.int8
    converter.inference_input_type = converter.inference_output_type = io
    # The converter has no public name for one scale a dense kernel.
    converter._experimental_disable_per_channel_quantization_for_dense_layers = (  # noqa: SLF001 - as said above
        options.per_tensor_dense
    )
    return for_device(bytes(converter.convert()))
