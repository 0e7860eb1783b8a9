"""Resolves specs that are alike only once: sweeps and retrainings differ in little.

Seed, learning rate, dataset and first weights are left out of what is compared: with data of the
same kind and shape they change nothing else of a resolved spec, and their ranges stand in the
contract.
"""

from collections import OrderedDict
from dataclasses import replace
from typing import Generic, TypeVar

from linnet.v1 import spec_pb2
from linnet_ml import wire
from linnet_ml.defaults import resolve
from linnet_ml.spec import Architecture, InputKind, TrainingSpec
from linnet_runtime.errors import InvalidInput

from linnet_gateway.records import DatasetRecord

_REMEMBERED = 1024
_SOME_SEED = 1
_SOME_RATE = 0.5

_REMEMBERED_BYTES = 8 * 1024 * 1024
"""Of the messages that are compared: scripts are large, and differ in a little each time."""

Key = tuple[int, tuple[int, ...], int, bool, bool, bytes]
V = TypeVar("V")


class Remembered(Generic[V]):
    """What was found for some messages; the oldest are forgotten."""

    def __init__(self) -> None:
        self._known: OrderedDict[Key, V] = OrderedDict()
        self._bytes = 0

    def get(self, key: Key) -> V | None:
        """Give what was found for a message, if it is remembered."""
        return self._known.get(key)

    def put(self, key: Key, value: V) -> None:
        """Remember what was found."""
        self._known[key] = value
        self._bytes += len(key[-1])
        while len(self._known) > _REMEMBERED or self._bytes > _REMEMBERED_BYTES:
            oldest, _ = self._known.popitem(last=False)
            self._bytes -= len(oldest[-1])


class Structures:
    """Remembers resolved specs by what makes them differ, layer lists apart from all else."""

    def __init__(self) -> None:
        self._known: Remembered[tuple[TrainingSpec, spec_pb2.TrainingSpec]] = Remembered()
        self._layers: Remembered[Architecture] = Remembered()

    def resolve(
        self, message: spec_pb2.TrainingSpec, dataset: DatasetRecord
    ) -> tuple[TrainingSpec, spec_pb2.TrainingSpec]:
        """Fill every default in, as a value and as a message whose own fields may lag behind.

        The message is shared: copy it, then set dataset, first weights, seed, learning rate and
        layers.

        Raises:
            InvalidInput: Names every wrong field.
        """
        alike, seed, rate = _alike(message)
        layers = None
        if alike.architecture.HasField("layers"):
            listed = spec_pb2.TrainingSpec()
            listed.architecture.CopyFrom(alike.architecture)
            alike.architecture.layers.CopyFrom(spec_pb2.LayerList())
            try:
                layers = self._network(listed, dataset)
                spec, template = self._rest(alike, dataset)
            except InvalidInput:
                # Wrong in one half: the whole tells of everything that is wrong.
                resolved(message, dataset)
                raise
        else:
            spec, template = self._rest(alike, dataset)
        fit = replace(
            spec.fit, seed=seed or spec.fit.seed, learning_rate=rate or spec.fit.learning_rate
        )
        own = replace(
            spec,
            dataset=message.dataset,
            init_from=message.init_from,
            fit=fit,
            architecture=layers or spec.architecture,
        )
        return own, template

    def _network(self, listed: spec_pb2.TrainingSpec, dataset: DatasetRecord) -> Architecture:
        key = _key(listed, dataset)
        found = self._layers.get(key)
        if found is None:
            found = resolved(listed, dataset).architecture
            self._layers.put(key, found)
        return found

    def _rest(
        self, alike: spec_pb2.TrainingSpec, dataset: DatasetRecord
    ) -> tuple[TrainingSpec, spec_pb2.TrainingSpec]:
        key = _key(alike, dataset)
        found = self._known.get(key)
        if found is None:
            spec = resolved(alike, dataset)
            found = (spec, wire.to_message(spec, spec_pb2.TrainingSpec))
            self._known.put(key, found)
        return found


def resolved(message: spec_pb2.TrainingSpec, dataset: DatasetRecord) -> TrainingSpec:
    """Fill every default in; raises `InvalidInput`, which names every wrong field."""
    return resolve(
        wire.from_message(TrainingSpec, message),
        input_kind=InputKind(dataset.input_kind),
        input_shape=dataset.facts.input_shape,
        class_count=len(dataset.classes),
        has_groups=dataset.facts.group_count > 0,
        has_validation=dataset.facts.validation_count > 0,
    )


def _key(message: spec_pb2.TrainingSpec, dataset: DatasetRecord) -> Key:
    facts = dataset.facts
    return (
        dataset.input_kind,
        facts.input_shape,
        len(dataset.classes),
        facts.group_count > 0,
        facts.validation_count > 0,
        message.SerializeToString(deterministic=True),
    )


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
