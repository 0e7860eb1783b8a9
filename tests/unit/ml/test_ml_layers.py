"""Shape inference of layer lists."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from linnet_ml import layers
from linnet_ml.spec import Layer, LayerKind, LayerList, Padding, Pooling
from linnet_runtime.errors import InvalidInput

K = LayerKind


def shapes_of(found):
    return [shape.output_shape for shape in found]


def test_product_conv1d_preset_has_the_known_shapes_and_count():
    """The audio preset on 650 features gives the shapes and the 2,183 parameters of Keras."""
    network = LayerList(
        (
            Layer(K.RESHAPE, columns=13),
            Layer(K.CONV1D, units=8),
            Layer(K.DROPOUT, rate=0.25),
            Layer(K.CONV1D, units=16),
            Layer(K.DROPOUT, rate=0.25),
            Layer(K.FLATTEN),
        )
    )
    found = layers.infer(network, (650,), 7)
    assert shapes_of(found) == [(50, 13), (25, 8), (25, 8), (13, 16), (13, 16), (208,), (7,)]
    # 13*3*8+8, 8*3*16+16, 208*7+7
    assert [s.parameter_count for s in found] == [0, 320, 0, 400, 0, 0, 1463]
    assert layers.parameter_count(found) == 2183


def test_disabled_layer_passes_its_input_on():
    """A layer that is not enabled costs nothing and is still listed."""
    network = LayerList((Layer(K.DENSE, units=5, enabled=False), Layer(K.DENSE, units=3)))
    found = layers.infer(network, (4,), 2)
    assert [(s.enabled, s.output_shape, s.parameter_count) for s in found] == [
        (False, (4,), 0),
        (True, (3,), 15),
        (True, (2,), 8),
    ]


@pytest.mark.parametrize(
    ("network", "shape", "words"),
    [
        ((Layer(K.CONV1D, units=8),), (33,), ["layers[0]", "(steps, channels)", "(33,)"]),
        ((Layer(K.DENSE, units=4), Layer(K.RESHAPE, columns=3)), (9,), ["layers[1]", "(4,)", "3"]),
        (
            (Layer(K.CONV2D, units=2, kernel_size=5, padding=Padding.VALID),),
            (3, 8, 1),
            ["layers[0]", "(5, 5)", "(3, 8, 1)"],
        ),
        (
            (
                Layer(K.CONV1D, units=4, id="a"),
                Layer(K.CONV1D, units=4),
                Layer(K.RESIDUAL_ADD, add_from="a"),
            ),
            (8, 4),
            ["layers[2]", "(2, 4)", "(4, 4)"],
        ),
        ((Layer(K.RESIDUAL_ADD, add_from="b"),), (8, 4), ["layers[0].add_from", "'b'"]),
        ((Layer(K.DENSE),), (4,), ["layers[0].units"]),
        (
            (Layer(K.DEPTHWISE_CONV, kernel_width=5),),
            (20, 3),
            ["layers[0].kernel_width", "(20, 3)"],
        ),
        ((Layer(K.FLATTEN, units=3),), (4,), ["layers[0].units", "FLATTEN"]),
        ((Layer(K.DENSE, units=65536),), (1000,), ["layers[0]", "10,000,000"]),
    ],
)
def test_misfit_names_the_layer_and_the_shapes(network, shape, words):
    """A layer that can't be built is refused with its path and both shapes."""
    with pytest.raises(InvalidInput) as caught:
        layers.infer(LayerList(network), shape, 3)
    for word in words:
        assert word in caught.value.message


def test_projection_makes_a_strided_residual_fit():
    """A residual add with units adds the shortcut through a strided 1 x 1 convolution."""
    network = LayerList(
        (
            Layer(K.CONV2D, units=4, stride=2, pooling=Pooling.NONE),
            Layer(K.RESIDUAL_ADD, add_from="input", units=4, stride=2),
        )
    )
    found = layers.infer(network, (7, 6, 3), 2)
    assert found[1].output_shape == (4, 3, 4)
    assert found[1].parameter_count == (3 + 1) * 4


@given(
    size=st.integers(1, 60),
    stride=st.integers(1, 5),
    kernel=st.integers(1, 8),
    padding=st.sampled_from([Padding.SAME, Padding.VALID]),
)
def test_positions_follow_the_counting_of_windows(size, stride, kernel, padding):
    """The number of positions equals the windows counted one by one."""
    layer = Layer(
        K.CONV1D, units=1, kernel_size=kernel, stride=stride, padding=padding, pooling=Pooling.NONE
    )
    last = size - 1 if padding is Padding.SAME else size - kernel
    counted = len(range(0, last + 1, stride))
    if counted == 0:
        with pytest.raises(InvalidInput, match="valid padding"):
            layers.infer(LayerList((layer,)), (size, 1), 2)
    else:
        assert layers.infer(LayerList((layer,)), (size, 1), 2)[0].output_shape == (counted, 1)
