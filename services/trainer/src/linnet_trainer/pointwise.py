"""Strided convolutions by 1 x 1 kernels, computed without a kernel that spoils memory.

The gradient of such a convolution and its bias together, as TensorFlow 2.21 has oneDNN compute it,
writes beyond its memory where the rows do not end on a stride, as 32 x 32 by 2 does not: TensorFlow
then aborts sooner or later, whatever it does at that time. To take every second row and column
first and convolve those without a stride is the same convolution.
"""

from functools import partial
from typing import Any

import keras

_KINDS = (keras.layers.Conv1D, keras.layers.Conv2D, keras.layers.Conv3D)


def avoid_strides(model: Any) -> None:
    """Have the layers of a model that would spoil memory compute themselves in the other way.

    Neither their weights nor what is saved of them changes.
    """
    for layer in model._flatten_layers():  # noqa: SLF001 - Keras has no public way to layers of layers
        if isinstance(layer, _KINDS) and _spoils(layer):
            layer.convolution_op = partial(_cut_first, tuple(layer.strides))


def _spoils(layer: Any) -> bool:
    pointwise = all(size == 1 for size in layer.kernel_size)
    strided = any(stride > 1 for stride in layer.strides)
    return pointwise and strided and layer.use_bias and layer.data_format == "channels_last"


def _cut_first(strides: tuple[int, ...], inputs: Any, kernel: Any) -> Any:
    kept = (slice(None), *(slice(None, None, stride) for stride in strides))
    return keras.ops.conv(inputs[kept], kernel, data_format="channels_last")
