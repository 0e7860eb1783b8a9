"""Optimizer updates over all weights as one flat vector.

Each rule does Keras' arithmetic in Keras' order, so that weights equal `model.fit`'s bit for bit;
one vector takes a dozen operations a step instead of a dozen a variable.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import tensorflow as tf
from linnet_ml.spec import FitSettings, Optimizer

Tensor = Any
Update = Callable[[Tensor, Tensor, tuple[Tensor, ...], Tensor, Tensor], tuple[Tensor, ...]]

BETA_1, BETA_2, EPSILON, RHO = 0.9, 0.999, 1e-7, 0.9
"""Keras' defaults of Adam and RMSprop."""


@dataclass(frozen=True, slots=True)
class UpdateRule:
    """How gradients change weights.

    Attributes:
        slot_count: Vectors of state beside the weights.
        update: Maps (weights, gradients, slots, rate, steps before this one) to (weights, *slots).
    """

    slot_count: int
    update: Update


def rule_for(fit: FitSettings) -> UpdateRule:
    """Make the update rule of resolved settings."""
    if fit.optimizer is Optimizer.SGD:
        return _sgd(fit.momentum)
    if fit.optimizer is Optimizer.RMSPROP:
        return _rmsprop(fit.momentum)
    return UpdateRule(2, _adam(fit.weight_decay))


def _adam(weight_decay: float) -> Update:
    def update(
        weights: Tensor, gradients: Tensor, slots: tuple[Tensor, ...], rate: Tensor, step: Tensor
    ) -> tuple[Tensor, ...]:
        mean, square = slots
        if weight_decay:
            weights -= weights * weight_decay * rate
        count = tf.cast(step + 1, tf.float32)
        left_1, left_2 = 1 - tf.pow(BETA_1, count), 1 - tf.pow(BETA_2, count)
        alpha = rate * tf.sqrt(left_2) / left_1
        mean += (gradients - mean) * (1 - BETA_1)
        square += (tf.square(gradients) - square) * (1 - BETA_2)
        return weights - (mean * alpha) / (tf.sqrt(square) + EPSILON), mean, square

    return update


def _sgd(momentum: float) -> UpdateRule:
    def plain(
        weights: Tensor, gradients: Tensor, _slots: tuple[Tensor, ...], rate: Tensor, _step: Tensor
    ) -> tuple[Tensor, ...]:
        return (weights - gradients * rate,)

    def heavy(
        weights: Tensor, gradients: Tensor, slots: tuple[Tensor, ...], rate: Tensor, _step: Tensor
    ) -> tuple[Tensor, ...]:
        speed = slots[0] * momentum - gradients * rate
        return weights + speed, speed

    return UpdateRule(1, heavy) if momentum else UpdateRule(0, plain)


def _rmsprop(momentum: float) -> UpdateRule:
    def update(
        weights: Tensor, gradients: Tensor, slots: tuple[Tensor, ...], rate: Tensor, _step: Tensor
    ) -> tuple[Tensor, ...]:
        square = RHO * slots[0] + (1 - RHO) * tf.square(gradients)
        increment = rate * gradients / tf.sqrt(square + EPSILON)
        if not momentum:
            return weights - increment, square
        speed = momentum * slots[1] + increment
        return weights - speed, square, speed

    return UpdateRule(2 if momentum else 1, update)
