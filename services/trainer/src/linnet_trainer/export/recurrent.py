"""Unrolls recurrent layers: as loops they have no int8 form, and the converter crashes on them."""

from collections.abc import Callable
from typing import Any

import keras

MOST_STEPS = 64
"""Steps of a layer that is unrolled: about 15 operators and 2 kB each, and half a second."""


class TooManySteps(ValueError):
    """A recurrent layer runs over more steps than are unrolled."""


def unroll(model: Any) -> dict[str, int]:
    """Have a model's recurrent layers unrolled when it is traced next.

    Args:
        model: A built Keras model, which is changed.

    Returns:
        Steps by name of the layers, filled by the tracing, which raises `TooManySteps`.
    """
    steps: dict[str, int] = {}
    for layer in model._flatten_layers():  # noqa: SLF001 - nested layers have no public list
        if isinstance(layer, keras.layers.RNN):
            layer.unroll = True
            layer.call = _counting(layer.name, layer.call, steps)
    return steps


def _counting(name: str, usual: Callable[..., Any], steps: dict[str, int]) -> Callable[..., Any]:
    def call(sequences: Any, *arguments: Any, **more: Any) -> Any:
        steps[name] = sequences.shape[1] or 0
        if not 0 < steps[name] <= MOST_STEPS:
            given = steps[name] or "an unknown number"
            raise TooManySteps(
                "recurrent layers have no int8 form but unrolled, which takes at most "
                f"{MOST_STEPS} steps; {name} has {given}. Shorter windows have one."
            )
        return usual(sequences, *arguments, **more)

    return call
