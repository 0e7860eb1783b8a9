"""Dataclasses and messages of the contract agree."""

import dataclasses
from datetime import timedelta
from enum import IntEnum

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from linnet.v1 import dataset_pb2, spec_pb2
from linnet_ml import spec as specs
from linnet_ml import wire

ENUMS = [
    value
    for value in vars(specs).values()
    if isinstance(value, type) and issubclass(value, IntEnum) and value is not IntEnum
]
VALUES = [
    value
    for value in vars(specs).values()
    if dataclasses.is_dataclass(value) and isinstance(value, type)
]


def _contract_enum(name: str):
    files = (spec_pb2, dataset_pb2)
    return next(getattr(f, name).DESCRIPTOR for f in files if hasattr(f, name))


@pytest.mark.parametrize("enum", ENUMS, ids=lambda e: e.__name__)
def test_enums_have_the_contracts_names_and_numbers(enum):
    """Each enum has exactly the contract's numbers, under the contract's names less the prefix."""
    descriptor = _contract_enum(enum.__name__)
    contract = {value.name: value.number for value in descriptor.values}
    names = {member.name: member.value for member in enum}

    assert len(contract) == len(names)
    for name, number in contract.items():
        assert any(name.endswith("_" + short) and names[short] == number for short in names), name


@pytest.mark.parametrize("cls", VALUES, ids=lambda c: c.__name__)
def test_values_have_the_contracts_fields(cls):
    """Each value has exactly the fields of its message."""
    descriptor = getattr(spec_pb2, cls.__name__).DESCRIPTOR

    assert {f.name for f in dataclasses.fields(cls)} == {f.name for f in descriptor.fields}


NUMBERS = st.integers(0, 2**31 - 1)
LAYERS = st.builds(
    specs.Layer,
    kind=st.sampled_from(specs.LayerKind),
    enabled=st.none() | st.booleans(),
    units=NUMBERS,
    rate=st.floats(0, 1),
    id=st.text("abc", max_size=3),
)
SPECS = st.builds(
    specs.TrainingSpec,
    fit=st.builds(
        specs.FitSettings,
        epochs=NUMBERS,
        learning_rate=st.floats(0, 1),
        time_limit=st.none() | st.timedeltas(timedelta(0), timedelta(days=30)),
        early_stopping=st.none()
        | st.builds(specs.EarlyStopping, patience_epochs=st.none() | NUMBERS),
    ),
    split=st.builds(specs.SplitSpec, test_groups=st.lists(st.text("abc", max_size=3)).map(tuple)),
    architecture=st.builds(
        specs.Architecture,
        layers=st.none() | st.builds(specs.LayerList, st.lists(LAYERS, max_size=3).map(tuple)),
    ),
)


@given(SPECS)
@settings(max_examples=50)
def test_a_spec_survives_the_way_to_a_message_and_back(spec):
    """Making a message of any spec and a spec of it gives the same spec."""
    message = wire.to_message(spec, spec_pb2.TrainingSpec)

    assert wire.from_message(specs.TrainingSpec, message) == spec


def test_json_of_the_contract_gives_a_spec():
    """The contract's JSON mapping is read, and a wrong field is named."""
    text = '{"fit": {"epochs": 3, "time_limit": "5s"}, "architecture": {"preset": "dense"}}'

    spec = wire.from_json(specs.TrainingSpec, text, spec_pb2.TrainingSpec())

    assert spec.fit.epochs == 3
    assert spec.fit.time_limit == timedelta(seconds=5)
    assert spec.architecture.preset == "dense"
