"""The private names of Keras: a canary for each, and what is missing where one is gone."""

import ast
import logging
import math
from dataclasses import asdict, replace
from pathlib import Path

import keras
import numpy as np
import pytest
from keras import layers

import evengrad
import evengrad.keras
from evengrad.adapters.keras import compat
from evengrad.errors import CannotCheckError

pytestmark = pytest.mark.keras
BACKEND = keras.backend.backend()
SOURCE = Path(compat.__file__).read_text(encoding="utf-8")


class Scaled(layers.Layer):
    """A layer in a layer, with a weight of its own."""

    def __init__(self):
        super().__init__(name="scaled")
        self.inner = layers.Dense(4, activation="relu", name="inner")

    def build(self, shape):
        self.scale = self.add_weight(shape=(4,), initializer="ones", name="scale")
        self.inner.build(shape)

    def call(self, x, training=None):
        return self.inner(x) * self.scale


def model(optimizer="adam"):
    keras.utils.set_random_seed(3)
    inputs = keras.Input((4,))
    x = layers.BatchNormalization(name="norm")(Scaled()(inputs))
    net = keras.Model(inputs, layers.Dense(2, name="head")(x), name="net")
    net.compile(optimizer, keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    return net


def data():
    rng = np.random.default_rng(0)
    return rng.normal(size=(48, 4)).astype("float32"), rng.integers(0, 2, 48)


@pytest.fixture(scope="module")
def fitted():
    net = model()
    net.fit(*data(), verbose=0)
    return net


@pytest.fixture(scope="module")
def adding():
    """An optimizer that adds gradients up, built."""
    net = model(keras.optimizers.SGD(gradient_accumulation_steps=2))
    net.optimizer.build(net.trainable_variables)
    return net.optimizer


# --- canaries ---------------------------------------------------------------------------------------

OF_BACKEND = {
    "_autoconvert_optionals": "tensorflow",
    "_jax_state": "jax",
    "_modules": "torch",
    "__internal__": "tensorflow",
    "dispatch": "tensorflow",
    "GlobalOpDispatcher": "tensorflow",
    "_create_op_internal": "tensorflow",
    "optimization_barrier": "tensorflow",
    "add_op_callback": "tensorflow",
    "remove_op_callback": "tensorflow",
    "_gradient_function": "tensorflow",
    "EvalTrace": "jax",
    "current": "jax",
    "_id": "tensorflow",
    "_C": "torch",
    "_len_torch_function_stack": "torch",
    "_pop_torch_function_stack": "torch",
    "_push_on_torch_function_stack": "torch",
    "DeviceContext": "torch",
    "_foreach_norm": "torch",
    "to_torch_dtype": "torch",
}
FORMER = {
    "flat_losses",
    "enable_x64",
    "_keras_mask",
}  # of releases before; asked where the new one is not


def asked():
    """The names that compat asks for: (name, module or None)."""
    found = {}
    for node in ast.walk(ast.parse(SOURCE)):
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") in ("_private", "_imported"):
            first, name = node.args[0], node.args[1]
            if isinstance(name, ast.Constant):
                given = first.value if isinstance(first, ast.Constant) else None
                found[name.value] = given if node.func.id == "_imported" else None
    return found


def owners(net, *more):
    """Objects, of which each name that is no module's must be on one."""
    tensor = keras.ops.add(keras.Input((2,)), 1.0)
    gqa = layers.GroupQueryAttention(2, 2, 1)
    gqa.build((None, 3, 4), (None, 3, 4))
    loss = compat.compiled_loss(net)
    table = layers.Embedding(3, 2)
    found = [
        *more,
        net,
        net.layers[1],
        net.layers[-1],
        net.optimizer,
        net.weights[0],
        tensor,
        gqa,
        loss,
    ]
    found += [table, tensor._keras_history.operation, net.optimizer._tracker]
    found += [entry.loss for entry in loss._flat_losses] + [keras.callbacks.CallbackList()]
    found += [keras.Sequential([keras.Input((2,)), layers.Dense(2)])]
    if BACKEND == "torch":
        import torch

        found += [torch, torch._C]
    if BACKEND == "tensorflow":
        import tensorflow as tf

        found += [tf, tf.__internal__, tf.__internal__.dispatch, tf.Graph(), tf.constant(1.0)]
    return found


@pytest.mark.parametrize("name", sorted(set(asked()) - FORMER))
def test_the_installed_keras_still_has(name, fitted, adding):
    backend, module = OF_BACKEND.get(name, BACKEND), asked()[name]
    if backend != BACKEND:
        pytest.skip(f"it is {backend}'s")
    if module is not None:
        assert compat._imported(module, name) is not None, f"{module} has no {name}"
    elif name == "operation":
        assert keras.ops.add(keras.Input((2,)), 1.0)._keras_history.operation is not None
    elif name != "_gate_dense":  # only where a layer was told to have one
        assert any(hasattr(owner, name) for owner in owners(fitted, adding)), f"nothing has {name}"


@pytest.mark.parametrize(
    ("kind", "names"),
    [
        ("Adam", ["velocities"]),
        ("Adamax", ["u"]),
        ("Adagrad", ["accumulators"]),
        ("RMSprop", ["velocities", "average_gradients"]),
    ],
)
def test_the_installed_optimizers_still_keep(kind, names):
    more = {"centered": True} if kind == "RMSprop" else {}
    net = model(getattr(keras.optimizers, kind)(**more))
    net.optimizer.build(net.trainable_variables)
    for name in names:
        kept = compat.slot(net.optimizer, name, net.trainable_variables[0])
        assert tuple(kept.shape) == tuple(net.trainable_variables[0].shape)


def test_methods_and_attributes_that_are_replaced(fitted):
    assert callable(getattr(fitted.optimizer, compat.UPDATE))
    assert all(hasattr(compat.Variable, name) for name in compat.VARIABLE_HOOKS)
    assert {"_called", "built"} <= {n for n in compat.LAYER_FLAGS if hasattr(fitted, n)}
    assert callable(fitted.optimizer._track_variable)
    assert isinstance(fitted.weights[0], compat.Variable)


def test_names_are_made_as_keras_makes_them():
    for cls in (layers.Conv2DTranspose, layers.LSTM, layers.PReLU, Scaled):
        made = type(cls.__name__, (layers.Layer,), {})().name
        assert made.startswith(compat.snake_case(cls.__name__))


# --- gone -------------------------------------------------------------------------------------------

FIGURE = {  # what is missing where the name is; nothing, where another way gives the same
    "_loss_tracker": "losses",
    "_autoconvert_optionals": "activations",
    "_trainable_variables": "frozen",
    "_flat_losses": "loss",
    "Node": "check",
}
UNTOUCHABLE = {"_value", "_tracker"}  # nothing could be read or restored without


@pytest.fixture
def gone(monkeypatch):
    def pretend(name):
        private, imported = compat._private, compat._imported
        monkeypatch.setattr(compat, "_lost", {})
        monkeypatch.setattr(
            compat,
            "_private",
            lambda owner, n, default=None: default if n == name else private(owner, n, default),
        )
        monkeypatch.setattr(
            compat, "_imported", lambda module, n: None if n == name else imported(module, n)
        )

    return pretend


def measured(net):
    """A probe without what the process noted before."""
    return evengrad.check(net, batch=data()).probe


@pytest.fixture(scope="module")
def whole():
    """A probe with every name there."""
    return measured(model())


@pytest.fixture(scope="module")
def trained():
    """The weights after a training that nobody watched."""
    net = model()
    net.fit(*data(), batch_size=4, shuffle=False, verbose=0)
    return net.get_weights()


# What is done without a name that is no backend's own is the same with each: once, with the fastest.
HIDDEN = sorted(
    name for name in set(asked()) - FORMER - UNTOUCHABLE if OF_BACKEND.get(name, "torch") == BACKEND
)


@pytest.mark.parametrize("name", HIDDEN)
def test_without_it_check_lacks_that_alone(name, gone, whole):
    gone(name)
    if FIGURE.get(name) == "check":
        with pytest.raises(CannotCheckError, match=name):
            measured(model())
        return
    found = measured(model())
    for part in ("operations", "weights", "outputs"):  # some figures are NaN, which equals nothing
        seen, expected = ([asdict(one) for one in getattr(p, part)] for p in (found, whole))
        assert repr(seen) == repr(expected)
    if FIGURE.get(name) in ("frozen", "loss"):
        assert any(name in note for note in found.notes)
    if FIGURE.get(name) == "loss":
        assert found.loss.reads == "unknown"
        assert replace(found.loss, family="x", reads="logits", name="") == replace(
            whole.loss, family="x", name=""
        )
    else:
        assert found.loss == whole.loss


@pytest.mark.parametrize("name", HIDDEN)
def test_without_it_a_run_lacks_that_alone(name, gone, trained, tmp_path, caplog):
    gone(name)
    watch, net = evengrad.keras.Watch(every=1, folder=tmp_path), model()
    with caplog.at_level(logging.WARNING, "evengrad"):
        net.fit(*data(), batch_size=4, shuffle=False, verbose=0, callbacks=[watch])
    for a, b in zip(trained, net.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
    run = evengrad.load(watch.watching.path)
    assert len(run.steps["step"]) == 12
    assert np.isfinite(run.steps["norm"]).all()
    if FIGURE.get(name) == "losses":
        assert all(math.isnan(loss) for loss in run.steps["loss"])
        assert name in caplog.text
    else:
        assert np.isfinite(run.steps["loss"]).all()


def test_without_the_frozen_ones_are_left_out(gone):
    net = model()
    net.layers[1].trainable = False
    assert len(measured(net).weights) == 7
    gone("_trainable_variables")
    assert len(measured(net).weights) == 4


def test_fallbacks_that_find_the_same():
    net = model()
    whole = compat.layers_of(net)
    plain = object.__new__(type("NoPrivate", (), {}))
    assert compat.own_layers(plain) == []
    assert {id(layer) for layer in whole} == {id(layer) for layer in compat.layers_of(net, True)}
    assert compat.layers_of(net, include_self=False) == [v for v in whole if v is not net]
