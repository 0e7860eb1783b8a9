"""Finds the suggestions: what in a model costs more than it has to."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from linnet_profiler.profile import OperatorProfile
from linnet_profiler.program.flash import Flash
from linnet_profiler.suggestions import Suggestion
from linnet_profiler.targets import Target

# An operator below this share of the time isn't worth a suggestion.
_WORTH: Final = 0.02
_IMAGE_RANK: Final = 4
# AveragePooling2D over the full window takes 6.5 instructions an element, MEAN 130.
_SAVED_OF_MEAN: Final = 0.95
# A generic depthwise kernel takes 4 to 8 times what the 3x3 one does.
_SAVED_OF_GENERIC: Final = 0.7
_BATCH_OPERATORS: Final = frozenset({"SHAPE", "STRIDED_SLICE", "PACK"})
# TfLiteEvalTensor and NodeAndRegistration of one operator, 32-bit.
_OPERATOR_BYTES: Final = 44


def suggest(
    target: Target,
    operators: Sequence[OperatorProfile],
    flash: Flash,
    quantized: Suggestion | None,
) -> tuple[Suggestion, ...]:
    """Suggestions for a model on a target, the largest saving of time first.

    Args:
        target: Where it runs.
        operators: Its operators with their times.
        flash: Its program memory.
        quantized: What quantizing it saves; None where it isn't float32.
    """
    found = [
        suggestion
        for operator in operators
        for suggestion in [_of_operator(target, operator)]
        if suggestion is not None
    ]
    found += _open_batch(operators)
    if quantized is not None:
        found.append(quantized)
    saved = flash.code_bytes - flash.int8_code_bytes
    if saved > 0:
        text = "Register the INT8-only kernels (Register_CONV_2D_INT8 and so on)."
        found.append(Suggestion(text, -1, 0.0, 0, saved))
    return tuple(sorted(found, key=lambda entry: -entry.saved_us))


def _of_operator(target: Target, operator: OperatorProfile) -> Suggestion | None:
    if operator.share < _WORTH:
        return None
    text, part = "", 0.0
    if operator.name == "MEAN" and len(operator.input_shape) == _IMAGE_RANK:
        text = (
            "MEAN walks an index for each element: use AveragePooling2D over the full window in "
            "place of GlobalAveragePooling2D."
        )
        part = _SAVED_OF_MEAN
    elif operator.name == "DEPTHWISE_CONV_2D" and "|generic" in operator.path:
        text = (
            "Dilation or a depth multiplier sends this layer to the slow generic kernel: use "
            "multiplier 1 without dilation, and a 1x1 convolution to widen."
        )
        part = _SAVED_OF_GENERIC
    elif operator.name in ("QUANTIZE", "DEQUANTIZE") and target.core.soft_float:
        text = "The core has no FPU: feed and read int8, so that no conversion to float runs."
        part = 1.0
    elif operator.name == "SOFTMAX":
        text = "The largest logit is the answer too: leave softmax out where no scores are shown."
        part = 1.0
    if not text:
        return None
    return Suggestion(text, operator.index, operator.microseconds * part, 0, 0)


def _open_batch(operators: Sequence[OperatorProfile]) -> list[Suggestion]:
    names = {operator.name for operator in operators}
    if not names >= _BATCH_OPERATORS:
        return []
    extra = [operator for operator in operators if operator.name in _BATCH_OPERATORS]
    return [
        Suggestion(
            "Convert with the batch fixed to 1: SHAPE, STRIDED_SLICE and PACK then disappear.",
            extra[0].index,
            sum(operator.microseconds for operator in extra),
            _OPERATOR_BYTES * len(extra),
            0,
        )
    ]
