"""Scaling of features before the model, never as one of its layers.

One int8 input scale can't serve features of unequal ranges, so trainer, evaluator, CLI and the C
header all apply the same multiply-add a feature ahead of the model's input.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from linnet_runtime.errors import InvalidInput
from numpy.typing import NDArray

from linnet_ml.spec import InputScaling

_LEAST_SPREAD = 1e-7
"""A spread below this share of the feature's magnitude is rounding noise of a constant."""


@dataclass(frozen=True, slots=True)
class Scaler:
    """Gives (x - offset) * factor; arrays are float32 over the last axis, empty for none."""

    kind: InputScaling
    offset: NDArray[np.float32]
    factor: NDArray[np.float32]

    def apply(self, features: NDArray[Any]) -> NDArray[np.float32]:
        """Scale rows, shape (n, ..., features of the last axis), into a new float32 array."""
        if self.kind is InputScaling.NONE:
            return np.ascontiguousarray(features, dtype=np.float32)
        scaled = features.astype(np.float32)
        scaled -= self.offset
        scaled *= self.factor
        return scaled

    def merged(
        self, scale: float, zero_point: int
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Merge with an int8 input's quantization: q = round(x * multiplier + addend), clipped.

        Args:
            scale: Scale of the model's input tensor.
            zero_point: Its zero point.

        Returns:
            Multiplier and addend, one a feature of the last axis, or of length 1 without scaling.
        """
        factor = self.factor.astype(np.float64) if self.factor.size else np.ones(1)
        offset = self.offset.astype(np.float64) if self.offset.size else np.zeros(1)
        multiplier = factor / scale
        return (
            multiplier.astype(np.float32),
            (zero_point - offset * multiplier).astype(np.float32),
        )

    def to_dict(self) -> dict[str, Any]:
        """Give what a manifest stores."""
        return {
            "kind": self.kind.name.lower(),
            "offset": [float(v) for v in self.offset],
            "factor": [float(v) for v in self.factor],
        }

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any]) -> "Scaler":
        """Read what a manifest stores.

        Raises:
            InvalidInput: It is no scaling of a manifest.
        """
        try:
            return cls(
                InputScaling[str(stored["kind"]).upper()],
                np.asarray(stored["offset"], dtype=np.float32),
                np.asarray(stored["factor"], dtype=np.float32),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise InvalidInput.of(
                "manifest.input_scaling", f"expected kind, offset and factor, received {stored}"
            ) from error


def fit_scaler(kind: InputScaling, training: NDArray[Any]) -> Scaler:
    """Fit a scaling on training rows.

    Args:
        kind: Which; must be resolved.
        training: The training rows, shape (n, ...); statistics run over all axes but the last.

    Returns:
        The scaling. A constant feature is only shifted.
    """
    if kind is InputScaling.NONE:
        empty = np.zeros(0, dtype=np.float32)
        return Scaler(kind, empty, empty)
    table = training.reshape(-1, training.shape[-1]).astype(np.float64)
    if kind is InputScaling.STANDARD:
        offset, spread = table.mean(axis=0), table.std(axis=0)
    else:
        low, offset, high = np.quantile(table, (0.25, 0.5, 0.75), axis=0)
        spread = high - low
        flat = spread <= _LEAST_SPREAD * np.maximum(np.abs(offset), 1e-30)
        spread = np.where(flat, table.std(axis=0), spread)
    constant = spread <= _LEAST_SPREAD * np.maximum(np.abs(offset), 1e-30)
    factor = np.where(constant, 1.0, 1.0 / np.where(constant, 1.0, spread))
    return Scaler(kind, offset.astype(np.float32), factor.astype(np.float32))
