"""What training makes of its rows: random changes, and copies and weights of rare classes."""

from dataclasses import replace

import numpy as np
import pytest
from linnet_ml.augmentation import (
    Augmentation,
    ImageAugmentation,
    SpectrogramAugmentation,
    TimeSeriesAugmentation,
)
from linnet_ml.spec import Architecture, ClassBalance, InputKind
from linnet_runtime.errors import InvalidInput

from tests.fakes.training import run_data, spec, train

pytestmark = pytest.mark.usefixtures("shop")


def model_of(shape, *first):
    import keras

    return keras.Sequential([keras.Input(shape), *first, keras.layers.Dense(2)])


def bounds_of(rows):
    import tensorflow as tf

    return tf.constant([np.min(rows), np.max(rows)], tf.float32)


@pytest.mark.parametrize(
    ("augmentation", "shape"),
    [
        (
            Augmentation(
                spectrogram=SpectrogramAugmentation(
                    time_mask_count=1,
                    time_mask_frames=3,
                    frequency_mask_count=2,
                    frequency_mask_bands=2,
                    noise=0.1,
                    warp_frames=2,
                )
            ),
            (12, 5),
        ),
        (
            Augmentation(
                time_series=TimeSeriesAugmentation(jitter=0.1, scale=0.1, shift_steps=3, drift=0.2)
            ),
            (12, 5),
        ),
        (
            Augmentation(
                image=ImageAugmentation(
                    flip_horizontal=True, flip_vertical=True, shift=0.2, zoom=0.2, brightness=0.2
                )
            ),
            (12, 10, 3),
        ),
    ],
)
def test_augmentation_follows_its_seed(augmentation, shape):
    """The same seed changes rows in the same way, another seed in another; shapes stay."""
    import tensorflow as tf
    from linnet_trainer.fit.augment import changes_for

    change = changes_for(augmentation, model_of(shape))
    rows = tf.constant(np.random.default_rng(1).normal(size=(6, *shape)).astype(np.float32))
    first, again, other = (
        change(rows, tf.constant([seed, 1]), bounds_of(rows)).numpy() for seed in (1, 1, 2)
    )
    assert first.shape == rows.shape
    np.testing.assert_array_equal(first, again)
    assert np.abs(first - other).max() > 0
    assert np.isfinite(first).all()


def test_masks_cover_no_more_than_they_may():
    """A time mask zeroes one stretch of at most its longest length."""
    import tensorflow as tf
    from linnet_trainer.fit.augment import changes_for

    given = SpectrogramAugmentation(time_mask_count=1, time_mask_frames=4)
    change = changes_for(Augmentation(spectrogram=given), model_of((12, 3)))
    masked = change(tf.ones((200, 12, 3)), tf.constant([3, 4]), tf.ones(2)).numpy()
    lengths = (masked[:, :, 0] == 0).sum(axis=1)
    assert set(lengths) == {0, 1, 2, 3, 4}
    assert (masked.min(axis=2) == masked.max(axis=2)).all()


def test_brightness_of_a_row_follows_from_the_data_and_stays_in_their_range():
    """A dark digit gets as much brighter among dark ones as among bright ones, never above 1."""
    import tensorflow as tf
    from linnet_trainer.fit.augment import changes_for
    from sklearn.datasets import load_digits

    images = (load_digits().images[:40, ..., None] / 16).astype(np.float32)
    change = changes_for(Augmentation(image=ImageAugmentation(brightness=0.5)), model_of((8, 8, 1)))
    bounds, seed = bounds_of(images), tf.constant([3, 4])
    dark = images * 0.1
    alone = change(dark, seed, bounds).numpy()
    mixed = change(np.concatenate([dark[:20], images[20:]]), seed, bounds).numpy()
    np.testing.assert_array_equal(alone[:20], mixed[:20])
    assert (mixed.min(), mixed.max()) == (0, 1)
    assert 0.3 < (alone - dark).max() <= 0.5


def test_class_balance_follows_its_formulas():
    """Weights are N / (n_c K); copies make every class as frequent as the largest."""
    from linnet_trainer.fit.fold_rows import class_weights, oversampled

    labels = np.repeat([0, 1, 2], [60, 30, 10])
    np.testing.assert_allclose(class_weights(labels, 3), [100 / 180, 100 / 90, 100 / 30])
    index = oversampled(labels, seed=1)
    assert np.bincount(labels[index]).tolist() == [60, 60, 60]
    copies = np.bincount(index, minlength=100)
    assert copies.min() == 1
    assert copies[60:90].max() == 2
    assert copies[90:].max() == 6
    assert ClassBalance.OVERSAMPLE == 3


@pytest.mark.parametrize(("shape", "tail"), [((60,), (5,)), ((60,), (5, 1)), ((12, 5, 1), None)])
def test_flat_spectrograms_change_as_those_of_two_axes_do(shape, tail):
    """Rows that the first layer reshapes, or of one channel, get the very bits of (12, 5)."""
    import keras
    import tensorflow as tf
    from linnet_trainer.fit.augment import changes_for

    given = Augmentation(spectrogram=SpectrogramAugmentation(1, 3, 2, 2, noise=0.1, warp_frames=2))
    rows = np.random.default_rng(1).normal(size=(6, 12, 5)).astype(np.float32)
    first = () if tail is None else (keras.layers.Reshape((-1, *tail)),)
    seed = tf.constant([1, 1])
    bounds = bounds_of(rows)
    plain = changes_for(given, model_of((12, 5)))(tf.constant(rows), seed, bounds).numpy()
    seen = tf.constant(rows.reshape(6, *shape))
    changed = changes_for(given, model_of(shape, *first))(seen, seed, bounds)
    assert changed.shape == (6, *shape)
    np.testing.assert_array_equal(changed.numpy().reshape(rows.shape), plain)


def test_rows_without_frames_get_no_spectrogram_changes():
    """A model, of a script say, that keeps its rows flat is refused by the field."""
    from linnet_trainer.fit.augment import changes_for

    given = Augmentation(spectrogram=SpectrogramAugmentation(noise=0.1))
    with pytest.raises(InvalidInput, match=r"augmentation\.spectrogram: .*\(60,\)"):
        changes_for(given, model_of((60,)))


def test_the_product_audio_preset_trains_flat_features_with_masks(shop, tmp_path):
    """650 audio features in one row, as the product has them, train with augmentation."""
    labels = np.arange(60) % 3
    features = np.random.default_rng(3).normal(size=(60, 650)) + labels[:, None]
    data = run_data(tmp_path, features, labels, InputKind.AUDIO)
    changing = Augmentation(spectrogram=SpectrogramAugmentation(1, 4, 1, 3, noise=0.2))
    plain = spec(Architecture(preset="conv1d"), epochs=2)
    losses = []
    for number, given in enumerate((plain, replace(plain, augmentation=changing))):
        outcome, events = train(shop, given, data, tmp_path / str(number))
        assert "model.int8.tflite" in outcome.files
        losses.append(events.epochs[-1].loss)
    assert losses[0] != losses[1]
