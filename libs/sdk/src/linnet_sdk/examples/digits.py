"""Handwritten digits, 8 x 8 grey images, from scikit-learn (BSD).

UCI "Optical Recognition of Handwritten Digits", test part, 1,797 images.
"""

import numpy as np
from linnet.v1 import dataset_pb2
from sklearn.datasets import load_digits

from linnet_sdk.datasets import Arrays

_GREY_LEVELS = 16.0


def images() -> Arrays:
    """Make the dataset, shape (8, 8, 1), values in [0, 1]."""
    found = load_digits()
    return Arrays(
        input_kind=dataset_pb2.INPUT_KIND_IMAGE,
        classes=[str(digit) for digit in range(10)],
        features=(found.images[..., None] / _GREY_LEVELS).astype(np.float32),
        labels=found.target.astype(np.int32),
        title="Handwritten digits, 8 x 8",
    )
