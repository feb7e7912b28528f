"""Faults in a Keras training: none of them reaches a weight, and each is named by its place.

One network and one compilation for all: a second input says what each sample suffers, and where.
"""

import keras
import numpy as np
import pytest
from keras import layers, ops

import evengrad
import evengrad.keras
from evengrad.recording import blackbox
from evengrad.values.run import EventKind

pytestmark = pytest.mark.keras
ROWS, BATCHES, AT = 8, 3, 1
PLACES = ("first", "second", "third")
VALUE, FACTOR, SLOPE = range(3)
CLEAN = (0.0, 1.0, 1.0)
FORWARD = [(VALUE, 1.0), (VALUE, -1.0), (FACTOR, -1.0), (FACTOR, 0.0)]


@keras.saving.register_keras_serializable("evengrad-tests")
class Suffer(layers.Layer):
    """x, unless its column of the faults says otherwise."""

    def __init__(self, column, **more):
        super().__init__(**more)
        self.column = column

    def call(self, x, faults):
        value, factor = (faults[:, 3 * self.column + i][:, None] for i in (VALUE, FACTOR))
        value = ops.sign(value) * ops.exp(1e3 * ops.abs(value))  # 0, inf or -inf
        return x * ops.rsqrt(factor) + value  # of -1 NaN, of 0 inf


@keras.saving.register_keras_serializable("evengrad-tests")
class Steep(Suffer):
    """x, but for its gradient: of a root, infinite at 0."""

    def call(self, x, faults):
        root = ops.sqrt(ops.abs(x * faults[:, 3 * self.column + SLOPE][:, None]))
        return x + 1e-3 * (root - ops.stop_gradient(root))


@pytest.fixture(scope="module")
def training(tmp_path_factory):
    """(model, watch, its first weights), compiled once."""
    keras.utils.set_random_seed(0)
    x, faults = keras.Input((5,), name="x"), keras.Input((3 * len(PLACES),), name="faults")
    h = x
    for column, name in enumerate(PLACES):
        h = layers.Dense(6, activation="tanh", name=f"{name}_dense")(h)
        h = Suffer(column, name=f"{name}_forward")(h, faults)
        h = Steep(column, name=f"{name}_backward")(h, faults)
    model = keras.Model({"x": x, "faults": faults}, layers.Dense(2, name="head")(h))
    model.compile("adam", "mean_squared_error")
    return model, evengrad.keras.Watch(folder=tmp_path_factory.mktemp("runs")), model.get_weights()


def data(seed):
    rng = np.random.default_rng(seed)
    rows = ROWS * BATCHES
    faults = np.tile(np.array(CLEAN * len(PLACES), "float32"), (rows, 1))
    x = rng.normal(size=(rows, 5)).astype("float32")
    return {"x": x, "faults": faults}, rng.normal(size=(rows, 2)).astype("float32")


def stopped(training, x, y, weight=None):
    """Train until the guard says no, in the step AT; the black box's origin."""
    model, watch, start = training
    model.set_weights(start)
    with pytest.raises(evengrad.GuardStopError):
        model.fit(x, y, ROWS, sample_weight=weight, shuffle=False, verbose=0, callbacks=[watch])
    for variable in [*model.variables, *model.optimizer.variables]:
        assert np.isfinite(ops.convert_to_numpy(variable)).all(), variable.path
    run = evengrad.load(watch.watching.path)
    assert run.steps["applied"].tolist() == [1] * AT + [0]
    assert run.events[0].kind is EventKind.NON_FINITE
    return blackbox.load(run.path.parent).origin


def sample(seed):
    """One of the step's samples."""
    return ROWS * AT + np.random.default_rng(seed).integers(ROWS)


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("fault", range(len(FORWARD)))
@pytest.mark.parametrize("seed", [1, 2])
def test_forward(training, place, fault, seed):
    column, value = FORWARD[fault]
    x, y = data(seed)
    x["faults"][sample(seed), 3 * PLACES.index(place) + column] = value
    origin = stopped(training, x, y)
    assert (origin.layer, origin.phase) == (f"{place}_forward", "forward")


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("seed", [1, 2])
def test_backward(training, place, seed):
    x, y = data(seed)
    x["faults"][sample(seed), 3 * PLACES.index(place) + SLOPE] = 0.0
    origin = stopped(training, x, y)
    assert (origin.layer, origin.phase) == (f"{place}_backward", "backward")


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("given", ["x", "labels", "weight"])
def test_given(training, given, value):
    x, y = data(3)
    weight = np.ones(len(y), "float32")
    {"x": x["x"], "labels": y, "weight": weight}[given][sample(3)] = value
    origin = stopped(training, x, y, weight if given == "weight" else None)
    assert origin.layer == ("sample_weight" if given == "weight" else given)
    assert origin.phase == "batch"


@pytest.mark.parametrize("value", [1e22, 3e30])
def test_too_large_to_square(training, value):
    """Adam's second moment would be infinite for ever (PEERS, trap 2)."""
    x, y = data(4)
    weight = np.ones(len(y), "float32")
    weight[ROWS * AT : ROWS * (AT + 1)] = value
    origin = stopped(training, x, y, weight)
    assert origin.phase == "backward"


@pytest.mark.parametrize("layer", ["first_dense", "second_dense", "third_dense", "head"])
def test_weights(training, layer):
    model, watch, start = training
    model.set_weights(start)
    kernel = model.get_layer(layer).kernel
    before = ops.convert_to_numpy(kernel).copy()
    before[1, 1] = np.nan
    kernel.assign(before)
    x, y = data(5)
    with pytest.raises(evengrad.GuardStopError):
        model.fit(x, y, ROWS, verbose=0, callbacks=[watch])
    np.testing.assert_array_equal(ops.convert_to_numpy(kernel), before)
    origin = blackbox.load(watch.watching.path.parent).origin
    assert (origin.layer, origin.phase) == (layer, "weights")
