"""How many rows a model scores at once; follows from the model alone, since sums depend on it."""

import math
from typing import Any

MOST_ROWS = 1024
_PRODUCTS = 1e9
"""Products of weights and values in one call: less than half a second on a slow core."""


def rows_at_once(model: Any) -> int:
    """Give how many rows to score in one call, so that a call stays short; 1 to `MOST_ROWS`."""
    return max(1, min(MOST_ROWS, int(_PRODUCTS / max(1.0, _products(model)))))


def _products(model: Any) -> float:
    """Estimate the products of a row: each kernel once at each position of its layer's output."""
    return sum(_layer_products(layer) for layer in model.layers)


def _layer_products(layer: Any) -> float:
    if getattr(layer, "layers", None):
        return _products(layer)
    sizes = [math.prod(v.shape) for v in layer.weights]
    shape = getattr(getattr(layer, "output", None), "shape", None) or ()
    positions = math.prod(size or 1 for size in shape[1:-1])
    return float(sum(sizes) * positions)
