"""Each random change of rows by itself: it does what its name says, and nothing else."""

import numpy as np
import pytest
from linnet_ml.augmentation import (
    Augmentation,
    ImageAugmentation,
    SpectrogramAugmentation,
    TimeSeriesAugmentation,
)

pytestmark = pytest.mark.usefixtures("shop")
ROWS = 400


def changed(rows, **augmentation):
    """Change rows by one kind of augmentation."""
    import keras
    import tensorflow as tf
    from linnet_trainer.fit.augment import changes_for

    rows = np.asarray(rows, np.float32)
    model = keras.Sequential([keras.Input(rows.shape[1:]), keras.layers.Dense(2)])
    change = changes_for(Augmentation(**augmentation), model)
    bounds = tf.constant([rows.min(), rows.max()], tf.float32)
    found = change(tf.constant(rows), tf.constant([3, 4]), bounds).numpy()
    assert found.shape == rows.shape
    return found


def noise(*shape):
    return np.random.default_rng(1).normal(size=(ROWS, *shape)).astype(np.float32)


def ramp(*shape, axis):
    """Give rows whose value is the place along an axis."""
    places = np.arange(shape[axis], dtype=np.float32)
    turned = places.reshape([-1 if n == axis else 1 for n in range(len(shape))])
    return np.broadcast_to(turned, (ROWS, *shape)).astype(np.float32)


def test_frequency_masks_zero_bands_over_all_frames():
    """One stretch of bands, up to the most that was asked for, each length as it comes."""
    given = SpectrogramAugmentation(frequency_mask_count=1, frequency_mask_bands=3)
    masked = changed(np.ones((ROWS, 12, 6)), spectrogram=given)
    assert (masked == masked[:, :1]).all()
    bands = masked[:, 0] == 0
    assert set(bands.sum(axis=1)) == {0, 1, 2, 3}
    edges = np.diff(np.pad(bands, ((0, 0), (1, 1))).astype(int), axis=1)
    assert (edges == 1).sum(axis=1).max() == 1


@pytest.mark.parametrize(
    "augmentation",
    [
        {"spectrogram": SpectrogramAugmentation(noise=0.3)},
        {"time_series": TimeSeriesAugmentation(jitter=0.3)},
    ],
)
def test_noise_adds_to_each_value_by_itself(augmentation):
    """Of the deviation that was asked for, around nothing, the same at no two places."""
    rows = noise(12, 5)
    added = changed(rows, **augmentation) - rows
    assert abs(added.std() / 0.3 - 1) < 0.02
    assert abs(added.mean()) < 0.01
    assert np.unique(added.round(6)).size > 0.9 * added.size


def test_warping_moves_time_and_keeps_its_ends():
    """Frames come in their order, no further than asked for, and all bands together."""
    warped = changed(ramp(20, 3, axis=0), spectrogram=SpectrogramAugmentation(warp_frames=3))
    places = warped[:, :, 0]
    assert (warped == places[..., None]).all()
    np.testing.assert_allclose(places[:, [0, -1]], [[0, 19]] * ROWS, atol=1e-4)
    assert (np.diff(places, axis=1) > 0).all()
    farthest = np.abs(places - np.arange(20)).max()
    assert 2 < farthest <= 3


def test_scaling_multiplies_each_channel_of_a_row():
    """By one factor over all its steps, around 1, another one for each channel."""
    rows = noise(12, 5) + 3
    factors = changed(rows, time_series=TimeSeriesAugmentation(scale=0.2)) / rows
    np.testing.assert_allclose(factors, np.broadcast_to(factors[:, :1], factors.shape), rtol=1e-4)
    assert abs(factors[:, 0].std() / 0.2 - 1) < 0.05
    assert abs(factors[:, 0].mean() - 1) < 0.02
    assert np.abs(factors[:, 0, 0] - factors[:, 0, 1]).max() > 0.1


def test_shifting_moves_whole_steps_both_ways():
    """By each number of steps up to the most; what comes in repeats the edge."""
    moved = changed(ramp(20, 2, axis=0), time_series=TimeSeriesAugmentation(shift_steps=3))
    offsets = moved[:, 10, 0] - 10
    assert set(offsets) == {-3, -2, -1, 0, 1, 2, 3}
    expected = np.clip(np.arange(20) + offsets[:, None], 0, 19)
    np.testing.assert_array_equal(moved, np.repeat(expected[..., None], 2, axis=2))


def test_drift_grows_steadily_from_nothing():
    """A straight line, from 0 to an end of the deviation that was asked for."""
    rows = noise(12, 5)
    added = changed(rows, time_series=TimeSeriesAugmentation(drift=0.5)) - rows
    np.testing.assert_allclose(added[:, 0], 0, atol=1e-6)
    np.testing.assert_allclose(np.diff(added, n=2, axis=1), 0, atol=1e-5)
    assert abs(added[:, -1].std() / 0.5 - 1) < 0.05


@pytest.mark.parametrize(("name", "axis"), [("flip_horizontal", 2), ("flip_vertical", 1)])
def test_flipping_turns_about_half_of_the_images(name, axis):
    """Each is itself or its mirror image along that axis."""
    rows = noise(6, 8, 2)
    found = changed(rows, image=ImageAugmentation(**{name: True}))
    same = (found == rows).all(axis=(1, 2, 3))
    turned = (found == np.flip(rows, axis)).all(axis=(1, 2, 3))
    assert (same ^ turned).all()
    assert 0.4 < turned.mean() < 0.6


@pytest.mark.parametrize("axis", [0, 1])
def test_images_move_by_a_share_of_their_size(axis):
    """The same way all over, edges apart, up to the share that was asked for, both ways."""
    found = changed(ramp(20, 30, 1, axis=axis), image=ImageAugmentation(shift=0.1))
    size = (20, 30)[axis]
    middle = np.take(found, range(size // 4, size - size // 4), axis + 1)
    by = middle - np.take(ramp(20, 30, 1, axis=axis), range(size // 4, size - size // 4), axis + 1)
    one = by.reshape(ROWS, -1)
    assert np.ptp(one, axis=1).max() < 1e-3
    assert -0.1 * size <= one.min() < -0.08 * size
    assert 0.08 * size < one.max() <= 0.1 * size


def test_zooming_keeps_the_centre_and_both_sides_alike():
    """Places move away from the centre or to it, by one factor for height and width."""
    high = changed(ramp(21, 31, 1, axis=0), image=ImageAugmentation(zoom=0.2))[:, 8:13, 15, 0]
    wide = changed(ramp(21, 31, 1, axis=1), image=ImageAugmentation(zoom=0.2))[:, 10, 13:18, 0]
    np.testing.assert_allclose(high[:, 2], 10, atol=1e-4)
    np.testing.assert_allclose(wide[:, 2], 15, atol=1e-4)
    factors = np.diff(high, axis=1)
    np.testing.assert_allclose(factors, factors[:, :1] * np.ones(4), atol=1e-3)
    np.testing.assert_allclose(np.diff(wide, axis=1), factors, atol=1e-3)
    assert 1 / 1.2 <= factors.min() < 0.86
    assert 1.2 < factors.max() <= 1 / 0.8 + 1e-3
