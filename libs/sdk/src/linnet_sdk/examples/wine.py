"""Chemical analysis of wines of three growers, 178 rows of 13 columns, from scikit-learn (BSD)."""

import numpy as np
from linnet.v1 import dataset_pb2
from sklearn.datasets import load_wine

from linnet_sdk.datasets import Arrays


def columns() -> Arrays:
    """Make the dataset, shape (13,), in the units of the analysis."""
    found = load_wine()
    return Arrays(
        input_kind=dataset_pb2.INPUT_KIND_TABULAR,
        classes=["grower-1", "grower-2", "grower-3"],
        features=found.data.astype(np.float32),
        labels=found.target.astype(np.int32),
        feature_names=[str(name) for name in found.feature_names],
        title="Wine of three growers",
    )
