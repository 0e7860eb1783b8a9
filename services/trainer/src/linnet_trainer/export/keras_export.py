"""Exports any Keras model: frozen at batch 1, converted, edited for the device.

Global averages become pools over the full window, for which devices have an optimised kernel, and a
reshape of the input becomes the input's shape.
"""

from collections.abc import Callable, Iterator
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from linnet_ml.spec import ExportOptions, TensorIo
from numpy.typing import NDArray
from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

from linnet_trainer.export.tflite_edit import for_device, reshaped_input


def _converter(model: Any) -> Any:
    _pool_over_full_windows(model)
    signature = [tf.TensorSpec((1, *model.input_shape[1:]), tf.float32, name="features")]
    function = tf.function(lambda rows: model(rows, training=False), input_signature=signature)
    frozen = convert_variables_to_constants_v2(function.get_concrete_function())
    return tf.lite.TFLiteConverter.from_concrete_functions([frozen], None)


def _pool_over_full_windows(model: Any) -> None:
    for layer in model._flatten_layers():  # noqa: SLF001 - nested layers have no public list
        kinds = (keras.layers.GlobalAveragePooling1D, keras.layers.GlobalAveragePooling2D)
        if type(layer) in kinds and layer.data_format == "channels_last":
            layer.call = _full_window(layer, layer.call)


def _full_window(layer: Any, usual: Callable[..., Any]) -> Callable[..., Any]:
    """Make the call of a global average pool; `usual` where a mask or an unknown size needs it."""

    def call(inputs: Any, **more: Any) -> Any:
        *window, channels = inputs.shape[1:]
        if any(value is not None for value in more.values()) or None in (*window, channels):
            return usual(inputs, **more)
        height, width = (1, *window)[-2:]
        rows = tf.reshape(inputs, (-1, height, width, channels))
        means = tf.nn.avg_pool2d(rows, (height, width), (1, 1), "VALID")
        kept = [1] * len(window) if layer.keepdims else []
        return tf.reshape(means, (-1, *kept, channels))

    return call


def float32(model: Any) -> bytes:
    """Convert to float32."""
    return reshaped_input(for_device(bytes(_converter(model).convert())))


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
    return reshaped_input(for_device(bytes(converter.convert())))
