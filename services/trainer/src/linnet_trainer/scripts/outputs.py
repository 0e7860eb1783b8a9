"""Whether what a script's model gives are probabilities, by a few rows."""

from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

_LEAST = -1e-6
_MOST_OFF = 1e-3


def ends_with_softmax(model: Any) -> bool:
    """Say whether the last layer of a model, by its own kind, gives probabilities."""
    layer: Any = getattr(getattr(model.outputs[0], "_keras_history", None), "operation", None)
    if type(layer) is keras.layers.Softmax:
        return bool(layer.axis == -1)
    kinds = (keras.layers.Dense, keras.layers.Activation)
    return type(layer) in kinds and bool(layer.activation is keras.activations.softmax)


def said_against(outputs: Any) -> tuple[str, bool]:
    """Judge outputs, shape (rows, classes).

    Returns:
        What speaks against probabilities, empty for nothing; whether one is below zero, which no
        cross-entropy of probabilities can be computed of.
    """
    values: NDArray[np.float64] = np.asarray(outputs, np.float64)
    if not np.isfinite(values).all():
        # The loss of such a model is none either, which the training tells.
        return "", False
    sums = values.sum(axis=-1)
    lowest, highest = float(values.min()), float(values.max())
    if lowest >= _LEAST and np.abs(sums - 1).max() <= _MOST_OFF:
        return "", False
    said = (
        f"values from {lowest:.3g} to {highest:.3g} whose sum over the classes is "
        f"{sums.min():.3g} to {sums.max():.3g}"
    )
    return said, lowest < _LEAST
