"""Keras, on the backend that KERAS_BACKEND names, against the plain float64 reference."""

import pytest
import reference
from networks import EPSILON, NETWORKS, make, steps

import evengrad
from evengrad.diagnosis.budget import budget, operations_on_path

keras = pytest.importorskip("keras")
pytestmark = pytest.mark.keras


def build(name, weights, shape):
    """The network as a functional Keras model with those weights."""
    x = inputs = keras.Input(shape)
    kept, layers = [], {}
    for kind, layer in steps(name):
        w = {key[1]: value for key, value in weights.items() if key[0] == layer}
        if kind == "save":
            kept.append(x)
        elif kind == "add":
            x = keras.layers.Add()([x, kept.pop()])
        elif layer:
            layers[layer] = make_layer(kind, layer, w)
            x = layers[layer](x)
            order = ("kernel", "bias") if "kernel" in w else ("gamma", "beta")
            moving = layers[layer].get_weights()[2:]
            layers[layer].set_weights([*(w[key] for key in order), *moving])
        elif kind == "flatten":
            x = keras.layers.Flatten()(x)
        else:
            x = keras.layers.Activation(kind)(x)
    return keras.Model(inputs, x)


def make_layer(kind, name, w):
    if kind == "conv":
        return keras.layers.Conv2D(w["kernel"].shape[-1], 3, padding="same", name=name)
    if kind == "depthwise":
        return keras.layers.DepthwiseConv2D(3, strides=2, name=name)
    if kind == "dense":
        return keras.layers.Dense(w["kernel"].shape[-1], name=name)
    norm = keras.layers.BatchNormalization if kind == "bn" else keras.layers.LayerNormalization
    return norm(epsilon=EPSILON, name=name)


@pytest.mark.parametrize("seed", [3, 4])
@pytest.mark.parametrize("name", NETWORKS)
def test_budget_equals_the_reference(name, seed):
    weights, (x, y) = make(name, seed)
    gains, total = reference.budget(name, weights, (x, y))
    model = build(name, weights, x.shape[1:])
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    probe = evengrad.check(model, loss=loss, batch=(x, y)).probe
    found = operations_on_path(probe)
    assert len(found) == len(gains)
    for op, (kind, expected) in zip(found, gains, strict=True):
        assert op.log_gain == pytest.approx(expected, abs=1e-3), (op.name, kind)
    assert budget(probe).total == pytest.approx(total, abs=1e-3)
