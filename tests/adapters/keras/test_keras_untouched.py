"""A probe changes nothing: each thing that it could touch is bit-equal before and after."""

import random

import keras
import keras_models
import numpy as np
import pytest
from keras import layers
from keras.src.backend.common import global_state

from evengrad.adapters.keras.probe import probe

pytestmark = pytest.mark.keras


def values(variables):
    return [np.array(keras.ops.convert_to_numpy(v)) for v in variables]


def graph(model):
    return [
        (layer.name, list(map(id, layer._inbound_nodes)), list(map(id, layer._outbound_nodes)))
        for layer in model._flatten_layers()
    ]


def activations(model):
    return [(layer.name, layer.__dict__.get("activation")) for layer in model._flatten_layers()]


def flags(model):
    return [
        (layer.name, layer.trainable, layer.built, layer._called)
        for layer in model._flatten_layers()
    ]


def assert_same(before, after):
    assert len(before) == len(after)
    for a, b in zip(before, after, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("name", keras_models.MODELS)
def test_model_and_optimizer_are_untouched(name):
    model, (x, y) = keras_models.make(name, 3, optimizer=keras.optimizers.Adam())
    model.optimizer.build(model.trainable_variables)
    for variable in model.optimizer.variables[2:]:
        variable.assign(keras.ops.full(variable.shape, 0.1, variable.dtype))
    seeds = [v for v in model.variables if "seed" in v.path]
    before = values(model.variables), values(model.optimizer.variables), values(seeds)
    shape = graph(model), activations(model), flags(model)
    losses = (
        model.loss,
        model.optimizer,
        model._compile_loss,
        model._compile_loss.built,
        list(model.losses),
    )
    probe(model, batch=(x, y))
    after = values(model.variables), values(model.optimizer.variables), values(seeds)
    for one, other in zip(before, after, strict=True):
        assert_same(one, other)
    assert (graph(model), activations(model), flags(model)) == shape
    assert losses == (
        model.loss,
        model.optimizer,
        model._compile_loss,
        model._compile_loss.built,
        list(model.losses),
    )


def test_unbuilt_stays_unbuilt():
    model, batch = keras_models.make("normalised", 3, optimizer=keras.optimizers.Adam())
    count = len(model.optimizer.variables)
    probe(model, batch=batch)
    assert not model.optimizer.built
    assert len(model.optimizer.variables) == count
    assert not model._compile_loss.built


def test_random_states_and_name_counters_are_untouched():
    model, batch = keras_models.make("normalised", 3)
    names = dict(global_state.get_global_attribute("object_name_uids"))
    python, numpy = random.getstate(), np.random.get_state()
    scope = keras.backend.backend() == "torch" and __import__("torch").get_rng_state()
    probe(model, batch=batch)
    assert random.getstate() == python
    np.testing.assert_array_equal(np.random.get_state()[1], numpy[1])
    assert dict(global_state.get_global_attribute("object_name_uids")) == names
    if keras.backend.backend() == "torch":
        assert bool((__import__("torch").get_rng_state() == scope).all())


@pytest.mark.optimised
@pytest.mark.parametrize("name", ["normalised", "subclassed"])
def test_training_goes_on_as_if_nothing_had_been(name):
    def trained(probed):
        model, (x, y) = keras_models.make(name, 4, optimizer=keras.optimizers.Adam())
        if probed:
            probe(model, batch=(x, y))
        for _ in range(2):
            model.train_on_batch(x, y)
            if probed:
                probe(model, batch=(x, y))
        return values(model.variables)

    assert_same(trained(False), trained(True))


@pytest.mark.optimised
def test_an_unbuilt_model_is_built_as_fit_would():
    def built(probed):
        keras.utils.set_random_seed(11)
        model = keras_models.ArticleCNN()
        model.compile(optimizer="sgd", loss=keras.losses.SparseCategoricalCrossentropy(True))
        x = np.random.default_rng(1).uniform(size=(8, 9, 9, 1)).astype("float32")
        y = np.arange(8)
        if probed:
            probe(model, batch=(x, y))
        model.fit(x, y, batch_size=8, epochs=1, shuffle=False, verbose=0)
        return values(model.variables)

    assert_same(built(False), built(True))


def test_patches_come_off_when_the_probe_fails():
    class Bad(layers.Layer):
        def call(self, x):
            raise KeyError("user's own")

        def compute_output_shape(self, shape):
            return shape

    init, call = keras.src.ops.node.Node.__init__, keras.src.layers.layer.Layer.symbolic_call
    model = keras.Sequential([keras.Input((6,)), layers.Dense(3, activation="relu"), Bad()])
    activation = model.layers[0].activation
    x, _ = keras_models.rows(np.random.default_rng(1))
    with pytest.raises(Exception, match="user's own"):
        probe(model, loss="mse", batch=(x, np.zeros((8, 3), "float32")))
    assert keras.src.ops.node.Node.__init__ is init
    assert keras.src.layers.layer.Layer.symbolic_call is call
    assert model.layers[0].activation is activation
