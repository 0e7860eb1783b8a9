"""Resolves specs that are alike only once: sweeps and retrainings differ in little.

Seed, learning rate, dataset and first weights are left out of what is compared: with data of the
same kind and shape they change nothing else of a resolved spec, and their ranges stand in the
contract.
"""

from collections import OrderedDict
from dataclasses import replace

from linnet.v1 import spec_pb2
from linnet_ml import wire
from linnet_ml.defaults import resolve
from linnet_ml.spec import InputKind, TrainingSpec

from linnet_gateway.records import DatasetRecord

_REMEMBERED = 1024
_SOME_SEED = 1
_SOME_RATE = 0.5

Key = tuple[int, tuple[int, ...], int, bool, bytes]


class Structures:
    """Remembers resolved specs by what makes them differ."""

    def __init__(self) -> None:
        self._known: OrderedDict[Key, tuple[TrainingSpec, spec_pb2.TrainingSpec]] = OrderedDict()

    def resolve(
        self, message: spec_pb2.TrainingSpec, dataset: DatasetRecord
    ) -> tuple[TrainingSpec, spec_pb2.TrainingSpec]:
        """Fill every default in, as a value and as a message whose own fields may lag behind.

        The message is shared: copy it, then set dataset, first weights, seed and learning rate.

        Raises:
            InvalidInput: Names every wrong field.
        """
        facts = dataset.facts
        alike, seed, rate = _alike(message)
        key = (
            dataset.input_kind,
            facts.input_shape,
            len(dataset.classes),
            facts.group_count > 0,
            alike.SerializeToString(deterministic=True),
        )
        found = self._known.get(key)
        if found is None:
            resolved = resolve(
                wire.from_message(TrainingSpec, alike),
                input_kind=InputKind(dataset.input_kind),
                input_shape=facts.input_shape,
                class_count=len(dataset.classes),
                has_groups=facts.group_count > 0,
            )
            found = (resolved, wire.to_message(resolved, spec_pb2.TrainingSpec))
            self._known[key] = found
            if len(self._known) > _REMEMBERED:
                self._known.popitem(last=False)
        spec, template = found
        fit = replace(
            spec.fit, seed=seed or spec.fit.seed, learning_rate=rate or spec.fit.learning_rate
        )
        own = replace(spec, dataset=message.dataset, init_from=message.init_from, fit=fit)
        return own, template


def _alike(
    message: spec_pb2.TrainingSpec,
) -> tuple[spec_pb2.TrainingSpec, int, float]:
    alike = spec_pb2.TrainingSpec()
    alike.CopyFrom(message)
    alike.ClearField("dataset")
    alike.ClearField("init_from")
    seed, rate = message.fit.seed, 0.0
    if seed:
        alike.fit.seed = _SOME_SEED
    # A schedule is checked against the rate that it starts from.
    if message.fit.learning_rate > 0 and not message.fit.HasField("schedule"):
        rate = message.fit.learning_rate
        alike.fit.learning_rate = _SOME_RATE
    return alike, seed, rate
