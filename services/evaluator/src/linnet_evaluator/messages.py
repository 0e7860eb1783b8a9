"""The message of an evaluation and its JSON.

Curves are thousands of numbers: they go in and out whole, which is ten times faster than one by one
through reflection.
"""

import json
from dataclasses import fields, is_dataclass, replace
from enum import IntEnum
from typing import Any

from linnet.v1 import evaluation_pb2
from linnet_ml import wire

from linnet_evaluator.record import Evaluation, SplitSide, ThresholdCurve, Variant

_COLUMNS = ("precision", "recall", "f1", "certain_share")
_ENUM_PREFIXES: dict[type[IntEnum], str] = {Variant: "VARIANT_", SplitSide: "SPLIT_SIDE_"}
_NO_CURVE = ThresholdCurve((), (), ())


def _fill(target: evaluation_pb2.ThresholdCurve, curve: ThresholdCurve) -> None:
    for column in _COLUMNS:
        getattr(target, column).extend(getattr(curve, column))


def to_message(evaluation: Evaluation) -> evaluation_pb2.Evaluation:
    """Make the message of an evaluation."""
    message = wire.to_message(replace(evaluation, thresholds=()), evaluation_pb2.Evaluation)
    for analysis in evaluation.thresholds:
        target = message.thresholds.add()
        wire.fill(target, replace(analysis, overall=_NO_CURVE, classes=()))
        _fill(target.overall, analysis.overall)
        for curve in analysis.classes:
            _fill(target.classes.add(), curve)
    return message


def _plain(value: Any) -> Any:
    if isinstance(value, IntEnum):
        return _ENUM_PREFIXES[type(value)] + value.name
    if is_dataclass(value):
        told = ((field.name, getattr(value, field.name)) for field in fields(value))
        return {name: _plain(item) for name, item in told if item is not None}
    if isinstance(value, tuple):
        if value and isinstance(value[0], float):
            return list(value)
        return [_plain(item) for item in value]
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    return value


def to_json(evaluation: Evaluation) -> str:
    """Give the contract's JSON mapping, field names as in the contract.

    Written from the record: reflection over the message takes thirty times as long.
    """
    return json.dumps(_plain(evaluation))
