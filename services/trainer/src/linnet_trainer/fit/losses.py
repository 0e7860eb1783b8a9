"""Loss and number of correct rows of a batch."""

from collections.abc import Callable

import keras
import tensorflow as tf

from linnet_trainer.fit.loop_state import Tensor


def loss_of(smoothing: float, class_count: int) -> Callable[..., Tensor]:
    """Make the cross-entropy of integer labels, smoothed or not; a mean over a batch."""
    if not smoothing:
        loss: Callable[..., Tensor] = keras.losses.SparseCategoricalCrossentropy()
        return loss
    smooth = keras.losses.CategoricalCrossentropy(label_smoothing=smoothing)

    def smoothed(labels: Tensor, scores: Tensor, sample_weight: Tensor = None) -> Tensor:
        return smooth(tf.one_hot(labels, class_count), scores, sample_weight=sample_weight)

    return smoothed


def correct_rows(labels: Tensor, scores: Tensor) -> Tensor:
    """Count the rows whose largest score is the label's, as float32."""
    chosen = tf.argmax(scores, -1, output_type=tf.int32)
    return tf.reduce_sum(tf.cast(tf.equal(chosen, labels), tf.float32))
