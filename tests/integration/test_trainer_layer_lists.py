"""Layer lists through the product's own path: trained, exported, or refused before by name."""

import json
from dataclasses import replace
from math import prod

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from linnet_ml.layers import infer, parameter_count
from linnet_ml.spec import (
    Activation,
    Architecture,
    ExportOptions,
    InputKind,
    Layer,
    LayerKind,
    LayerList,
    Padding,
    Pooling,
    TensorIo,
)
from linnet_runtime.errors import InvalidInput

from tests.fakes.training import Recorder, run_data, spec, train

pytestmark = pytest.mark.usefixtures("shop")
K = LayerKind
CLASSES = 3
EXAMPLES = 24
"""As many as take half a minute."""


def rows_of_classes(folder, shape, rows=30):
    """Put rows of as many kinds as there are classes where a trainer can read them."""
    kinds = {1: InputKind.TABULAR, 2: InputKind.TIME_SERIES, 3: InputKind.IMAGE}
    labels = np.arange(rows) % CLASSES
    rng = np.random.default_rng(7)
    features = rng.normal(size=(CLASSES, *shape))[labels] + rng.normal(size=(rows, *shape))
    return run_data(folder, features, labels, kinds[len(shape)])


RESIDUALS_FROM_THE_INPUT = [
    (
        (10, 3),
        [
            Layer(K.DENSE, units=30),
            Layer(K.RESHAPE, columns=3),
            Layer(K.RESIDUAL_ADD, add_from="input"),
        ],
    ),
    (
        (4, 4, 2),
        [
            Layer(K.DENSE, units=16),
            Layer(K.RESHAPE, columns=2, channels=4),
            Layer(K.RESIDUAL_ADD, add_from="input", units=4, stride=2),
        ],
    ),
    ((6,), [Layer(K.DENSE, units=6), Layer(K.RESIDUAL_ADD, add_from="input")]),
]


@pytest.mark.parametrize(("shape", "layers"), RESIDUALS_FROM_THE_INPUT)
def test_a_residual_add_from_an_input_that_a_dense_layer_reads(shop, tmp_path, shape, layers):
    """The input keeps the axes that the addition needs, and the estimate knows those operators."""
    from linnet_profiler.estimate import estimate
    from linnet_profiler.targets import find_target
    from linnet_trainer.export.tflite_edit import operator_names

    data = rows_of_classes(tmp_path, shape)
    given = spec(Architecture(layers=LayerList(tuple(layers))), epochs=1)
    outcome, _ = train(shop, given, data, tmp_path / "out")

    assert outcome.figures.warnings == ()
    foreseen = estimate(LayerList(tuple(layers)), shape, CLASSES).float32
    names = [op.name for op in foreseen.profile(find_target("nucleo-l4r5zi")).operators]
    exported = (tmp_path / "out" / "model.float32.tflite").read_bytes()
    assert operator_names(exported) == names


def test_export_options_reach_the_exported_files(shop, tmp_path):
    """Float input and output, and no int8 model at all, are what a run is asked for and gives."""
    from linnet_trainer.export.tflite_edit import tensor_facts

    data = rows_of_classes(tmp_path, (6,))
    given = spec(epochs=1)
    floats = replace(given, export=ExportOptions(int8_io=TensorIo.FLOAT32, per_tensor_dense=True))
    train(shop, floats, data, tmp_path / "floats")
    facts = tensor_facts((tmp_path / "floats" / "model.int8.tflite").read_bytes())
    assert (facts["input"]["type"], facts["output"]["type"]) == ("float32", "float32")
    assert {"QUANTIZE", "DEQUANTIZE"} <= set(facts["operators"])
    none = replace(given, export=ExportOptions(skip_int8=True))
    outcome, _ = train(shop, none, data, tmp_path / "none")
    assert [name for name in outcome.files if name.endswith(".tflite")] == ["model.float32.tflite"]
    assert outcome.figures.warnings == ()


ACTIVATIONS = st.sampled_from(Activation)
WINDOWS = st.fixed_dictionaries(
    {},
    optional={
        "kernel_size": st.integers(1, 4),
        "stride": st.integers(1, 3),
        "padding": st.sampled_from(Padding),
    },
)
SIZES = st.integers(1, 5)
RESHAPES = st.tuples(st.sampled_from([1, 2, 3, 4]), st.sampled_from([0, 0, 1, 2]))


CONVOLUTIONS = {K.CONV1D, K.CONV2D, K.DEPTHWISE_CONV, K.SEPARABLE_CONV}
NORMS = st.fixed_dictionaries({"kernel_max_norm": st.sampled_from([0.0, 0.0, 1.0])})
LIMITS = {
    K.DENSE: st.fixed_dictionaries({"activity_l1": st.sampled_from([0.0, 0.0, 1e-4])}),
    K.CONV1D: NORMS,
    K.CONV2D: NORMS,
}


@st.composite
def some_layer(draw):
    """Draw a layer of any kind but the residual add, with any of its settings."""
    kind = draw(st.sampled_from([k for k in K if k not in {K.UNSPECIFIED, K.RESIDUAL_ADD}]))
    more = draw(LIMITS.get(kind, st.just({}))).copy()
    if kind in CONVOLUTIONS | {K.MAX_POOL, K.AVERAGE_POOL}:
        more |= draw(WINDOWS)
        if draw(st.integers(0, 4)) == 0:
            more["kernel_width"] = draw(st.integers(1, 3))
    if kind in CONVOLUTIONS - {K.DEPTHWISE_CONV} | {K.DENSE}:
        more["units"] = draw(SIZES)
    if kind in {K.CONV1D, K.CONV2D}:
        more |= {"stack": draw(st.integers(0, 2)), "pooling": draw(st.sampled_from(Pooling))}
        more["pool_size"] = draw(st.integers(0, 3))
    elif kind in CONVOLUTIONS:
        more["depth_multiplier"] = draw(st.integers(0, 2))
    if kind in CONVOLUTIONS | {K.DENSE}:
        more["no_bias"] = draw(st.booleans())
    if kind in CONVOLUTIONS | {K.DENSE, K.ACTIVATION}:
        more["activation"] = draw(ACTIVATIONS)
    if kind is K.RESHAPE:
        more["columns"], more["channels"] = draw(RESHAPES)
    if kind is K.DROPOUT:
        more["rate"] = 0.2
    return Layer(kind, enabled=draw(st.sampled_from([None, None, None, True, False])), **more)


def fitting(layers, shape):
    """Give the shape after a list; None where it is refused."""
    try:
        return infer(LayerList(tuple(layers)), shape, CLASSES)[-1].input_shape
    except InvalidInput:
        return None


@st.composite
def some_addition(draw, layers, shapes):
    """Draw a residual add of a layer before, or of the input, and what makes the shapes equal."""
    name = draw(st.sampled_from(sorted(shapes)))
    plain = Layer(K.RESIDUAL_ADD, add_from=name, activation=draw(ACTIVATIONS))
    here, there = fitting(layers, shapes["input"]), shapes[name]
    for stride in (1, 2, 3):
        projected = replace(plain, units=here[-1], stride=stride)
        if here != there and fitting([*layers, projected], shapes["input"]):
            return [projected]
    back = [] if here == there else [Layer(K.DENSE, units=prod(there))]
    if back and len(there) > 1:
        back.append(Layer(K.RESHAPE, columns=there[1], channels=(*there, 0)[2]))
    return [*back, plain]


@st.composite
def some_layers(draw, shape):
    """Draw a list that grows by what fits; now and then by what may not."""
    layers, shapes = [], {"input": shape}
    for number in range(draw(st.integers(1, 6))):
        add = draw(st.integers(0, 2)) == 0
        more = draw(some_addition(layers, shapes)) if add else [draw(some_layer())]
        if draw(st.booleans()):
            more[-1] = replace(more[-1], id=f"layer {number}")
        after = fitting([*layers, *more], shape)
        if after is None and draw(st.integers(0, 20)):
            continue
        layers += more
        if after is None:
            break
        if layers[-1].id and layers[-1].enabled is not False:
            shapes[layers[-1].id] = after
    return LayerList(tuple(layers))


NETWORKS = st.sampled_from([(6,), (12, 3), (1, 4), (6, 5, 2), (4, 4, 1)]).flatmap(
    lambda shape: st.tuples(st.just(shape), some_layers(shape))
)


@pytest.mark.timeout(300)
@settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck))
@given(network=NETWORKS)
def test_any_layer_list_gives_an_int8_model_or_is_refused_by_name(shop, tmp_path_factory, network):
    """What is accepted trains and exports what the interpreter takes; the rest trains nothing."""
    shape, layers = network
    folder = tmp_path_factory.mktemp("any")
    data = rows_of_classes(folder, shape, rows=24)
    asked = spec(Architecture(layers=layers), epochs=1, batch_size=8)
    events = Recorder()
    try:
        outcome, _ = train(shop, asked, data, folder / "out", events=events)
    except InvalidInput as error:
        assert events.lines == []
        fields = [violation.field for violation in error.violations]
        assert all(field.startswith("architecture.layers.layers[") for field in fields)
        return
    assert outcome.figures.parameter_count == parameter_count(infer(layers, shape, CLASSES))
    assert "model.int8.tflite" in outcome.files
    told = [w for w in outcome.figures.warnings if "There is no" in w or "TFLite Micro" in w]
    assert told == []
    assert_scores_agree(folder / "out", data)


def assert_scores_agree(folder, data):
    """The float file gives the scores of the Keras model for the rows as they are scaled."""
    import keras

    from tests.integration.test_trainer_export import scores

    scaling = json.loads((folder / "manifest.json").read_text())["input_scaling"]
    rows = np.asarray(data.features[:5], dtype=np.float64)
    if scaling["offset"]:
        rows = (rows - np.array(scaling["offset"])) * np.array(scaling["factor"])
    rows = rows.astype(np.float32)
    model = keras.models.load_model(folder / "model.keras")
    exported = scores((folder / "model.float32.tflite").read_bytes(), rows)
    np.testing.assert_allclose(exported, np.asarray(model(rows)), atol=1e-5)
