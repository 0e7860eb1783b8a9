"""From the arrays of Keras layers to those of a device's operators."""

import numpy as np

from linnet_ml.device_plan import Array, OpKind, Recipe, Shape, Weights

BATCH_NORM_EPSILON = 1e-3
"""Keras' default, which the trainer builds with."""


def plain(index: int, kernel: int, bias: int | None, shape: Shape, units: int) -> Recipe:
    """Take kernel and bias of a Keras layer as they are."""

    def recipe(weights: Weights) -> tuple[Array, ...]:
        arrays = weights[index]
        offset = np.zeros(units, dtype=np.float32) if bias is None else arrays[bias]
        return arrays[kernel].reshape(shape), offset

    return recipe


def affine(arrays: tuple[Array, ...]) -> tuple[Array, Array]:
    """Give factor and shift of a batch normalization in inference mode."""
    gamma, beta, mean, variance = (a.astype(np.float64) for a in arrays)
    factor = gamma / np.sqrt(variance + BATCH_NORM_EPSILON)
    return factor.astype(np.float32), (beta - mean * factor).astype(np.float32)


def folded(recipe: Recipe, index: int, kind: OpKind) -> Recipe:
    """Multiply the arrays of an operator by the batch normalization that follows it."""

    def product(weights: Weights) -> tuple[Array, ...]:
        kernel, bias = (a.astype(np.float64) for a in recipe(weights))
        gamma, beta, mean, variance = (a.astype(np.float64) for a in weights[index])
        factor = gamma / np.sqrt(variance + BATCH_NORM_EPSILON)
        # A depthwise kernel, (height, width, channels, multiplier), has its outputs on two axes.
        by_output = factor.reshape(kernel.shape[-2:]) if kind is OpKind.DEPTHWISE else factor
        return (
            (kernel * by_output).astype(np.float32),
            ((bias - mean) * factor + beta).astype(np.float32),
        )

    return product
