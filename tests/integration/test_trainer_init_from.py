"""Weights of an earlier run are taken whole or refused by name; nothing is passed over."""

import warnings

import numpy as np
import pytest
from linnet_ml.spec import Activation, Architecture, Layer, LayerKind, LayerList
from linnet_runtime.errors import InvalidInput

from tests.fakes.training import spec, train, wine

DENSE = Layer(LayerKind.DENSE, units=8)
NORMALIZED = Layer(LayerKind.BATCH_NORMALIZATION)
OTHERS = {
    "without its normalization": ((DENSE, NORMALIZED), (DENSE,), r"\(8,\), \(8,\), \(8,\), \(8,\)"),
    "without its second layer": ((DENSE, DENSE), (DENSE,), r"\(8,\), \(8, 8\) have no place"),
    "with a normalization more": ((DENSE,), (DENSE, NORMALIZED), "has no weights"),
    "with other units": ((DENSE,), (Layer(LayerKind.DENSE, units=9),), r"has no weights .*\(9,\)"),
    "without a bias": ((DENSE,), (Layer(LayerKind.DENSE, units=8, no_bias=True),), "no place"),
}


def of(*layers):
    return spec(Architecture(layers=LayerList(layers)), epochs=1)


@pytest.mark.parametrize("name", OTHERS)
def test_a_run_of_other_layers_is_refused_by_the_weights_that_differ(shop, tmp_path, name):
    """Weights that the network has no place for are refused as those that it lacks are."""
    earlier, later, words = OTHERS[name]
    data = wine(tmp_path)
    train(shop, of(*earlier), data, tmp_path / "first")
    first = tmp_path / "first" / "model.keras"
    with pytest.raises(InvalidInput, match=f"init_from: .*same architecture.*{words}"):
        train(shop, of(*later), data, tmp_path / "second", initial_model=first)
    assert not list((tmp_path / "second").glob("model*"))


def test_the_same_weights_under_other_activations_and_dropout_are_taken(shop, tmp_path):
    """Layers without weights may differ; the first epoch goes on from the earlier loss."""
    data = wine(tmp_path)
    _, first = train(shop, spec(epochs=15), data, tmp_path / "first")
    relu6 = Layer(LayerKind.DENSE, units=8, activation=Activation.RELU6)
    _, second = train(
        shop, of(relu6), data, tmp_path / "second", initial_model=tmp_path / "first" / "model.keras"
    )
    assert second.epochs[0].val_loss < first.epochs[0].val_loss / 2


@pytest.mark.parametrize("stored", [b"", b"PK\x03\x04", b"text", None])
def test_a_file_that_is_no_model_is_refused_by_field(shop, tmp_path, stored):
    """A damaged or cut model.keras is a refusal of init_from, not a crash."""
    data = wine(tmp_path)
    path = tmp_path / "model.keras"
    if stored is None:
        train(shop, spec(epochs=1), data, tmp_path / "first")
        stored = (tmp_path / "first" / "model.keras").read_bytes()[:-200]
    path.write_bytes(stored)
    with pytest.raises(InvalidInput, match=r"init_from: expected a model\.keras"):
        train(shop, spec(epochs=1), data, tmp_path / "second", initial_model=path)


@pytest.mark.parametrize("saved_nested", [True, False])
def test_nested_models_give_all_weights_or_a_refusal(shop, tmp_path, saved_nested):
    """Compiled models within models are taken whole without a warning, and never in parts."""
    import keras
    from linnet_trainer.initial_weights import take

    def build(nested, first=8):
        inner = [keras.layers.Dense(first), keras.layers.BatchNormalization()]
        layers = [keras.Sequential(inner)] if nested else inner
        model = keras.Sequential([keras.Input((13,)), *layers, keras.layers.Dense(3)])
        model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
        return model

    def outer(nested):
        value = inputs = keras.Input((13,))
        return keras.Model(inputs, build(nested)(value))

    path = tmp_path / "m.keras"
    saved = outer(saved_nested)
    saved.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    saved.fit(np.ones((4, 13)), np.zeros(4), verbose=0)
    saved.save(path)
    same = outer(saved_nested)
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        take(same, path)
    for here, there in zip(same.get_weights(), saved.get_weights(), strict=True):
        np.testing.assert_array_equal(here, there)
    with pytest.raises(InvalidInput, match=r"init_from: .*weights do not fit"):
        take(outer(not saved_nested), path)
