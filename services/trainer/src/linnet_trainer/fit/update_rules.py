"""Optimizer updates over all weights as one flat vector.

Each rule does Keras' arithmetic in Keras' order, so that weights equal `model.fit`'s bit for bit;
one vector takes a dozen operations a step instead of a dozen a variable.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import tensorflow as tf
from linnet_ml.spec import FitSettings, Optimizer
from numpy.typing import NDArray

Tensor = Any
Floats = NDArray[np.float32]
Update = Callable[[Tensor, Tensor, tuple[Tensor, ...], tuple[Tensor, ...]], tuple[Tensor, ...]]

BETA_1, BETA_2, EPSILON, RHO = 0.9, 0.999, 1e-7, 0.9
"""Keras' defaults of Adam and RMSprop."""
_BLOCK, _BLOCKS = 1024, 32
"""Steps of a block of Adam's corrections, and blocks after which they are one in float32."""


@dataclass(frozen=True, slots=True)
class UpdateRule:
    """How gradients change weights.

    Attributes:
        slot_count: Vectors of state beside the weights.
        rates: Maps the learning rate of each step of an epoch, float32, and the steps before it to
            what `update` wants of each step: vectors as long as the first.
        update: Maps (weights, gradients, slots, those of one step) to (weights, *slots).
    """

    slot_count: int
    rates: Callable[[Floats, int], tuple[Floats, ...]]
    update: Update


def rule_for(fit: FitSettings, sizes: Sequence[int]) -> UpdateRule:
    """Make the update rule of resolved settings for variables of those sizes."""
    if fit.optimizer is Optimizer.SGD:
        return _sgd(fit.momentum)
    if fit.optimizer is Optimizer.RMSPROP:
        return _rmsprop(fit.momentum, sizes)
    return _adam(fit.weight_decay or 0.0)


def corrections(beta: float, before: int, count: int) -> Floats:
    """Give 1 - beta^t of the steps t = before + 1 ... before + count."""
    first, last = before // _BLOCK, (before + count - 1) // _BLOCK
    blocks = [_corrections(beta, min(number, _BLOCKS)) for number in range(first, last + 1)]
    start = before - first * _BLOCK
    return np.concatenate(blocks)[start : start + count]


@lru_cache(maxsize=2 * (_BLOCKS + 1))
def _corrections(beta: float, block: int) -> Floats:
    # Number by number, as TensorFlow raises a scalar; numpy's and its own vectors differ in bits.
    base, first = np.float32(beta), block * _BLOCK + 1
    powers = [base ** np.float32(step) for step in range(first, first + _BLOCK)]
    return np.float32(1) - np.array(powers, np.float32)


def _adam(weight_decay: float) -> UpdateRule:
    def scaled(rates: Floats, before: int) -> tuple[Floats, ...]:
        left_1, left_2 = (corrections(beta, before, len(rates)) for beta in (BETA_1, BETA_2))
        alphas = rates * np.sqrt(left_2) / left_1
        return (alphas, rates) if weight_decay else (alphas,)

    def update(
        weights: Tensor,
        gradients: Tensor,
        slots: tuple[Tensor, ...],
        rates: tuple[Tensor, ...],
    ) -> tuple[Tensor, ...]:
        mean, square = slots
        if weight_decay:
            weights -= weights * weight_decay * rates[1]
        mean += (gradients - mean) * (1 - BETA_1)
        square += (tf.square(gradients) - square) * (1 - BETA_2)
        return weights - (mean * rates[0]) / (tf.sqrt(square) + EPSILON), mean, square

    return UpdateRule(2, scaled, update)


def _plain(rates: Floats, _before: int) -> tuple[Floats, ...]:
    return (rates,)


def _sgd(momentum: float) -> UpdateRule:
    def plain(
        weights: Tensor,
        gradients: Tensor,
        _slots: tuple[Tensor, ...],
        rates: tuple[Tensor, ...],
    ) -> tuple[Tensor, ...]:
        return (weights - gradients * rates[0],)

    def heavy(
        weights: Tensor,
        gradients: Tensor,
        slots: tuple[Tensor, ...],
        rates: tuple[Tensor, ...],
    ) -> tuple[Tensor, ...]:
        speed = slots[0] * momentum - gradients * rates[0]
        return weights + speed, speed

    return UpdateRule(1, _plain, heavy) if momentum else UpdateRule(0, _plain, plain)


def _rmsprop(momentum: float, sizes: Sequence[int]) -> UpdateRule:
    def over_root(values: Tensor, squares: Tensor) -> Tensor:
        """Divide by roots, variable by variable: a root's last bit depends on its place."""
        # A product by the reciprocal is what TensorFlow's graph optimizer makes of Keras' quotient.
        parts = zip(tf.split(values, sizes), tf.split(squares, sizes), strict=True)
        return tf.concat([value * tf.math.rsqrt(square + EPSILON) for value, square in parts], 0)

    def update(
        weights: Tensor,
        gradients: Tensor,
        slots: tuple[Tensor, ...],
        rates: tuple[Tensor, ...],
    ) -> tuple[Tensor, ...]:
        square = RHO * slots[0] + (1 - RHO) * tf.square(gradients)
        increment = over_root(rates[0] * gradients, square)
        if not momentum:
            return weights - increment, square
        speed = momentum * slots[1] + increment
        return weights - speed, square, speed

    return UpdateRule(2 if momentum else 1, _plain, update)
