"""Finds the suggestions: what in a model costs more than it has to."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from linnet_profiler.flash import Flash
from linnet_profiler.model import Model
from linnet_profiler.profile import OperatorProfile
from linnet_profiler.suggestions import Suggestion
from linnet_profiler.targets import Target

_WORTH: Final = 0.02
# AveragePooling2D over the full window costs about 6.5 instructions an element against MEAN's 130.
_POOL_FOR_MEAN: Final = 0.95


def suggest(
    model: Model, target: Target, operators: Sequence[OperatorProfile], flash: Flash
) -> tuple[Suggestion, ...]:
    """Suggestions for a model on a target, the largest saving first."""
    found = []
    for operator in operators:
        if operator.name == "MEAN" and operator.share >= _WORTH and len(operator.input_shape) == 4:
            found.append(
                Suggestion(
                    "MEAN walks an index per element: use AveragePooling2D over the full window "
                    "in place of GlobalAveragePooling2D.",
                    operator.index,
                    operator.microseconds * _POOL_FOR_MEAN,
                    0,
                    0,
                )
            )
    saved = flash.code_bytes - flash.int8_code_bytes
    if saved > 0:
        found.append(
            Suggestion(
                "Register the INT8-only kernels (Register_CONV_2D_INT8 and so on).",
                -1,
                0.0,
                0,
                saved,
            )
        )
    return tuple(sorted(found, key=lambda entry: -entry.saved_us))
