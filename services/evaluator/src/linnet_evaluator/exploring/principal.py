"""Principal components."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_WIDE = 2048
"""Above so many values a row, components come from as many rows instead of the covariance."""


@dataclass(frozen=True, slots=True)
class Components:
    """Rows on the directions of largest variance.

    Attributes:
        rows: Shape (rows, components), float32, centred.
        explained: Share of all variance along each component.
    """

    rows: NDArray[np.float32]
    explained: NDArray[np.float64]


def principal(matrix: NDArray[np.float32], count: int) -> Components:
    """Give the first principal components, exact up to 2,048 values a row.

    Wider rows take the components of 2,048 of them, evenly spread. Each direction points to where
    its largest loading is positive, so that equal data gives equal pictures.

    Args:
        matrix: Shape (rows, values), finite.
        count: Components; at most the smaller of rows and values are given.
    """
    centred = matrix - matrix.mean(axis=0)
    total = float(np.einsum("ij,ij->", centred, centred, dtype=np.float64)) or 1.0
    rows, values = centred.shape
    count = min(count, rows, values)
    if values <= _WIDE:
        strengths, directions = np.linalg.eigh((centred.T @ centred).astype(np.float64))
        directions = directions[:, ::-1][:, :count]
    else:
        some = centred[:: max(1, rows // _WIDE)][:_WIDE]
        strengths, sides = np.linalg.eigh((some @ some.T).astype(np.float64))
        strengths, sides = strengths[::-1][:count], sides[:, ::-1][:, :count]
        lengths = np.sqrt(np.maximum(strengths, 1e-12))
        directions = (some.T @ sides.astype(np.float32)) / lengths
    largest = np.abs(directions).argmax(axis=0)
    directions = directions * np.sign(directions[largest, np.arange(directions.shape[1])])
    turned = centred @ directions.astype(np.float32)
    return Components(turned, np.einsum("ij,ij->j", turned, turned, dtype=np.float64) / total)
