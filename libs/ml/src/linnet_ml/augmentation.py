"""Random changes of training rows, as frozen values; each mirrors a message of spec.proto.

The contract documents every field: units, ranges, defaults; zero turns a change off.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class SpectrogramAugmentation:
    """Augmentation of spectrograms, shape (frames, bands)."""

    time_mask_count: int = 0
    time_mask_frames: int = 0
    frequency_mask_count: int = 0
    frequency_mask_bands: int = 0
    noise: float = 0.0
    warp_frames: int = 0


@dataclass(frozen=True, slots=True)
class TimeSeriesAugmentation:
    """Augmentation of raw time series, shape (steps, channels)."""

    jitter: float = 0.0
    scale: float = 0.0
    shift_steps: int = 0
    drift: float = 0.0


@dataclass(frozen=True, slots=True)
class ImageAugmentation:
    """Augmentation of images, shape (height, width, channels)."""

    flip_horizontal: bool = False
    flip_vertical: bool = False
    shift: float = 0.0
    zoom: float = 0.0
    brightness: float = 0.0


@dataclass(frozen=True, slots=True)
class Augmentation:
    """Random changes of training rows."""

    spectrogram: SpectrogramAugmentation | None = None
    time_series: TimeSeriesAugmentation | None = None
    image: ImageAugmentation | None = None
