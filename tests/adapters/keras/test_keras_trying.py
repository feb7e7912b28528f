"""Changes in a live Keras model, each against the same written by hand; and the counting of a trial's steps."""

import math
import random

import keras
import numpy as np
import pytest
from keras import layers, ops

from evengrad.adapters.keras import live, trying
from evengrad.adapters.keras.change.change import apply
from evengrad.adapters.keras.probe import probe
from evengrad.adapters.keras.trying import arm
from evengrad.errors import CannotChangeError
from evengrad.fixing.changes.activation import Activation
from evengrad.fixing.changes.add_normalisation import AddNormalisation
from evengrad.fixing.changes.beta2 import Beta2
from evengrad.fixing.changes.decay import Decay
from evengrad.fixing.changes.initialise import Initialise
from evengrad.fixing.changes.inputs import StandardiseInputs
from evengrad.fixing.changes.logits import Logits
from evengrad.fixing.changes.scale_branches import ScaleBranches
from evengrad.fixing.changes.set_rate import SetRate
from evengrad.fixing.changes.use_optimizer import UseOptimizer
from evengrad.fixing.changes.warmup import Warmup
from evengrad.recording import failure
from evengrad.recording.session import Watching
from evengrad.recording.settings import Settings
from evengrad.theory.shaping import tailored
from evengrad.values.change import in_order

pytestmark = pytest.mark.keras
WIDTH = 12
KINDS = ("sequential", "functional", "subclassed")
LOSS = keras.losses.SparseCategoricalCrossentropy(from_logits=True)


class Subclassed(keras.Model):
    def __init__(self, activation, head):
        super().__init__()
        self.first = layers.Dense(WIDTH, activation)
        self.hidden = [layers.Dense(WIDTH, activation, name="second")]
        self.head = layers.Dense(3, head, name="head")

    def call(self, x):
        x = self.first(x)
        for layer in self.hidden:
            x = layer(x)
        return self.head(x)


def make(kind, seed=0, activation="tanh", head=None, optimizer="sgd", loss=LOSS, **compiled):
    keras.utils.set_random_seed(seed)
    if kind == "subclassed":
        model = Subclassed(activation, head)
        model(np.zeros((2, 5), "float32"))
    else:
        stack = [
            layers.Dense(WIDTH, activation, name="first"),
            layers.Dense(WIDTH, activation, name="second"),
            layers.Dense(3, head, name="head"),
        ]
        start = keras.Input((5,))
        if kind == "sequential":
            model = keras.Sequential([start, *stack])
        else:
            x = start
            for layer in stack:
                x = layer(x)
            model = keras.Model(start, x)
    model.compile(optimizer=optimizer, loss=loss, **{"run_eagerly": True, **compiled})
    return model


def rows(seed=0, count=24):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(count, 5)).astype("float32")
    return x, (x[:, 0] > 0).astype("int64") + (x[:, 1] > 0)


def dense(model):
    """The three weighted layers."""
    return [one for one in model._flatten_layers() if isinstance(one, layers.Dense)]


def by_hand(model, x, activation=np.tanh, before=lambda z: z):
    *hidden, head = dense(model)
    for one in hidden:
        x = activation(before(x @ array(one.kernel) + array(one.bias)))
    return x @ array(head.kernel) + array(head.bias)


def array(tensor):
    return np.array(ops.convert_to_numpy(tensor))


def weights(model):
    return [array(v) for v in model.variables if "seed" not in v.path]


def close(found, expected, tolerance=2e-5):
    np.testing.assert_allclose(array(found), expected, rtol=tolerance, atol=tolerance)


@pytest.fixture(params=KINDS)
def kind(request):
    return request.param


# --- weights --------------------------------------------------------------------------------------


@pytest.mark.parametrize("scheme", ["normal", "orthogonal"])
def test_initialise(scheme):
    for seed in (0, 1):
        keras.utils.set_random_seed(seed)
        model = keras.Sequential(
            [keras.Input((300,)), layers.Dense(400, "relu", name="a", bias_initializer="ones")]
        )
        model.add(layers.Dense(5, name="b"))
        model.compile("sgd", "mse")
        kept, state = array(model.layers[1].kernel), random.getstate()
        change = Initialise(("a",), "relu", 1.3, scheme)
        apply([change], model)
        kernel = array(model.layers[0].kernel)
        assert kernel.std() == pytest.approx(1.3 / math.sqrt(300), rel=0.02)
        assert not array(model.layers[0].bias).any()
        assert random.getstate() == state
        np.testing.assert_array_equal(array(model.layers[1].kernel), kept)
        if scheme == "orthogonal":
            close(kernel @ kernel.T, np.eye(300) * 1.3**2 * 400 / 300, 1e-4)
        apply([change], model)
        np.testing.assert_array_equal(array(model.layers[0].kernel), kernel)


def test_a_branch_begins_at_zero_though_all_weights_are_drawn_anew():
    model = keras.Sequential([keras.Input((4,)), layers.Dense(4, name="a")])
    model.add(layers.Dense(4, name="b", bias_initializer="ones"))
    model.compile("sgd", "mse")
    zeros = Initialise(("b",), "linear", 0.0, "zeros")
    apply(in_order([zeros, Initialise(("a", "b"), "relu", 1.4)]), model)
    assert array(model.layers[0].kernel).all()
    assert not array(model.layers[1].kernel).any()
    assert not array(model.layers[1].bias).any()


def test_normal_weights_are_those_of_keras_own_law():
    model = keras.Sequential([keras.Input((9, 9, 16)), layers.Conv2D(64, 3, name="conv")])
    model.compile("sgd", "mse")
    apply([Initialise(("conv",), "relu", math.sqrt(2))], model)
    own = array(keras.initializers.HeNormal(seed=3)((3, 3, 16, 64)))
    kernel = array(model.layers[0].kernel)
    assert kernel.std() == pytest.approx(own.std(), rel=0.03)
    assert np.abs(kernel).max() <= 2.001 * math.sqrt(2 / 144) / 0.8796


def test_orthogonal_convolutions_are_of_the_centre_alone():
    model = keras.Sequential([keras.Input((9, 9, 6)), layers.Conv2D(8, 3, name="conv")])
    model.compile("sgd", "mse")
    apply([Initialise(("conv",), "tanh", 1.1, "orthogonal")], model)
    kernel = array(model.layers[0].kernel)
    centre = kernel[1, 1]
    close(centre @ centre.T, np.eye(6) * 1.21 * 8 / 6, 1e-5)
    assert np.mean(kernel**2) == pytest.approx(1.21 / (9 * 6), rel=1e-4)
    assert np.count_nonzero(kernel) == centre.size


@pytest.mark.once
def test_layers_are_found_by_the_names_of_the_probe(kind):
    model = make(kind)
    found = probe(model, batch=rows())
    names = tuple(dict.fromkeys(o.layer for o in found.operations if o.kind.value == "weights"))
    before = weights(model)
    apply([Initialise(names, "tanh", 1.0)], model)
    for a, b in zip(before, weights(model), strict=True):
        assert a.ndim == 1 or not np.array_equal(a, b)
    with pytest.raises(CannotChangeError, match=r"no layer 'third'.*first, second, head"):
        apply([Initialise(("third",), "tanh", 1.0)], model)


# --- activations ----------------------------------------------------------------------------------

ACTIVATIONS = {
    "relu": lambda z: np.maximum(z, 0),
    "leaky_relu": lambda z: np.where(z > 0, z, 0.3 * z),
    "elu": lambda z: np.where(z > 0, z, np.expm1(z)),
}


@pytest.mark.once
@pytest.mark.parametrize(("kind", "new"), [*zip(KINDS, ACTIVATIONS, strict=True)])
def test_activation(kind, new):
    model, (x, _) = make(kind), rows()
    close(model(x), by_hand(model, x))
    apply([Activation("tanh", new, 0.3 if new == "leaky_relu" else None)], model)
    close(model(x), by_hand(model, x, ACTIVATIONS[new]))
    close(model.predict(x, verbose=0), by_hand(model, x, ACTIVATIONS[new]))


@pytest.mark.once
def test_an_activation_shaped_to_depth():
    model, (x, _) = make("sequential"), rows()
    alpha, beta, gamma, delta = shaping = tuple(tailored("tanh", 20))
    apply([Activation("tanh", "tanh", None, shaping)], model)
    close(model(x), by_hand(model, x, lambda z: gamma * (np.tanh(alpha * z + beta) + delta)))


@pytest.mark.once
def test_branches_are_scaled_before_they_are_added():
    inputs, (x, _) = keras.Input((5,)), rows()
    inner = layers.Dense(5, name="end")(layers.Dense(4, "relu")(inputs))
    model = keras.Model(inputs, [inner, layers.add([inputs, inner])])
    model.compile("sgd", "mse")
    branch = model(x)[0]
    apply([ScaleBranches(("end",), 0.25)], model)
    close(model(x)[1], np.asarray(x) + 0.25 * keras.ops.convert_to_numpy(branch))
    with pytest.raises(CannotChangeError, match="without an activation"):
        apply([ScaleBranches((model.layers[1].name,), 0.25)], model)


@pytest.mark.once
def test_the_loss_head_keeps_its_activation(kind):
    model, (x, _) = make(kind, activation="sigmoid", head="sigmoid", loss="mse"), rows()
    apply([Activation("sigmoid", "relu")], model)
    close(model(x), 1 / (1 + np.exp(-by_hand(model, x, ACTIVATIONS["relu"]))))
    with pytest.raises(CannotChangeError, match=r"No hidden layer of .* activation sigmoid"):
        apply([Activation("sigmoid", "tanh")], model)


@pytest.mark.once
def test_the_head_of_a_sequence():
    stack = [layers.Dense(4, "sigmoid"), layers.TimeDistributed(layers.Dense(1, "sigmoid"))]
    model = keras.Sequential([keras.Input((6, 5)), *stack])
    model.compile("sgd", "binary_crossentropy")
    apply([Activation("sigmoid", "tanh")], model)
    assert stack[0].activation is keras.activations.tanh
    assert stack[1].layer.activation is keras.activations.sigmoid


@pytest.mark.once
@pytest.mark.parametrize(
    "old", [layers.Activation("relu"), layers.ReLU(), layers.LeakyReLU(0.1), layers.ELU()]
)
def test_activation_layers(old):
    name = {"Activation": "relu", "ReLU": "relu", "LeakyReLU": "leaky_relu", "ELU": "elu"}
    stack = [layers.Dense(7), type(old).from_config(old.get_config()), layers.Dense(3)]
    model, (x, _) = keras.Sequential([keras.Input((5,)), *stack]), rows()
    model.compile("sgd", "mse")
    apply([Activation(name[type(old).__name__], "tanh")], model)
    close(model(x), by_hand(model, x))


def test_an_activation_that_call_calls_is_refused():
    class Calls(keras.Model):
        def __init__(self):
            super().__init__()
            self.a, self.b = layers.Dense(4), layers.Dense(4, "tanh")
            self.c = layers.Dense(3)

        def call(self, x):
            return self.c(self.b(keras.activations.sigmoid(self.a(x))))

    model, (x, _) = Calls(), rows()
    model.compile("sgd", LOSS, run_eagerly=True)
    with pytest.raises(CannotChangeError, match="calls sigmoid as a function"):
        apply([Activation("sigmoid", "relu")], model, x)
    apply([Activation("tanh", "relu")], model)
    with pytest.raises(CannotChangeError, match="knows no activation 'smooth'"):
        apply([Activation("tanh", "smooth")], model)


# --- training -------------------------------------------------------------------------------------


def test_rate_and_schedules():
    schedule = keras.optimizers.schedules.ExponentialDecay(0.2, 10, 0.5)
    for given, later in ((0.2, 0.05), (schedule, 0.025)):
        model = make("sequential", optimizer=keras.optimizers.SGD(given))
        apply([SetRate(0.05)], model)
        assert float(array(model.optimizer.learning_rate)) == pytest.approx(0.05)
        model.optimizer.build(model.trainable_variables)
        model.optimizer.iterations.assign(10)
        assert float(array(model.optimizer.learning_rate)) == pytest.approx(later)


def rates(model, steps):
    found = []
    for step in range(steps):
        model.optimizer.iterations.assign(step)
        found.append(float(array(model.optimizer.learning_rate)))
    return found


@pytest.mark.once
@pytest.mark.parametrize("order", [(Warmup(4), SetRate(0.1)), (SetRate(0.1), Warmup(4))])
def test_warmup(order):
    model = make("functional")
    apply(order, model)
    np.testing.assert_allclose(rates(model, 6), [0.025, 0.05, 0.075, 0.1, 0.1, 0.1], rtol=1e-5)


@pytest.mark.once
def test_decay_around_a_schedule():
    schedule = keras.optimizers.schedules.PiecewiseConstantDecay([1], [1.0, 0.5])
    model = make("functional", optimizer=keras.optimizers.SGD(schedule))
    apply([Decay(4)], model)
    half = [0.5 * (1 + math.cos(math.pi * n / 4)) for n in (0, 1, 2, 3, 4, 4)]
    expected = [half[0], half[1], *(0.5 * h for h in half[2:])]
    np.testing.assert_allclose(rates(model, 6), expected, atol=1e-6)


def test_a_schedule_is_taken_at_each_update(kind):
    x, y = rows()
    model = make(kind, optimizer=keras.optimizers.SGD(0.1))
    plain = make(kind, optimizer=keras.optimizers.SGD(0.05))
    apply([Warmup(2)], model)
    for one in (model, plain):
        one.train_on_batch(x, y)
    for a, b in zip(weights(model), weights(plain), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-6)
    assert probe(model, batch=(x, y), rate=True).optimizer.learning_rate == pytest.approx(0.1)


@pytest.mark.parametrize("name", ["adam", "adamw", "rmsprop", "adagrad", "sgd"])
def test_optimizer(name):
    x, y = rows(1)
    kinds = {"adam": "Adam", "adamw": "AdamW", "rmsprop": "RMSprop", "adagrad": "Adagrad"}
    cls, seed = getattr(keras.optimizers, kinds.get(name, "SGD")), len(name)
    plain = make("subclassed", seed, optimizer=cls(0.03, global_clipnorm=0.5))
    model = make("subclassed", seed, optimizer=keras.optimizers.Adam(global_clipnorm=0.5))
    model.train_on_batch(x[:8], y[:8])
    for v, w in zip(model.trainable_variables, plain.trainable_variables, strict=True):
        v.assign(array(w))
    apply([UseOptimizer(name, 0.03)], model)
    for one in (model, plain):
        one.fit(x, y, batch_size=8, shuffle=False, verbose=0)
    for a, b in zip(weights(model)[:6], weights(plain)[:6], strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6)


def test_loss_scaling_stays():
    scaled = keras.optimizers.LossScaleOptimizer(keras.optimizers.SGD(0.5), 64.0)
    model, (x, y) = make("sequential", optimizer=scaled), rows()
    plain = make("sequential", optimizer=keras.optimizers.Adam(0.01))
    apply([UseOptimizer("adam", 0.1), SetRate(0.01)], model)
    assert isinstance(model.optimizer, keras.optimizers.LossScaleOptimizer)
    for one in (model, plain):
        one.train_on_batch(x, y)
    for a, b in zip(weights(model), weights(plain), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-5)


def test_beta2():
    model = make("sequential", optimizer="nadam")
    apply([Beta2(0.95)], model)
    assert model.optimizer.beta_2 == 0.95
    with pytest.raises(CannotChangeError, match="SGD has no beta_2"):
        apply([Beta2(0.95)], make("sequential"))


# --- normalisation --------------------------------------------------------------------------------


def standard(z, axis):
    return (z - z.mean(axis, keepdims=True)) / np.sqrt(z.var(axis, keepdims=True) + 1e-3)


def grouped(z):
    return standard(z.reshape(len(z), 4, -1), -1).reshape(z.shape)


NORMS = {
    "batch": lambda z: standard(z, 0),
    "layer": lambda z: standard(z, -1),
    "group": grouped,
}


@pytest.mark.once
@pytest.mark.parametrize(
    ("kind", "norm"),
    [*((k, "batch") for k in KINDS), ("functional", "layer"), ("subclassed", "group")],
)
def test_normalise(kind, norm):
    compiled = {"optimizer": keras.optimizers.SGD(0.1), "run_eagerly": norm != "batch"}
    model, (x, y) = make(kind, 3, **compiled), rows(3)
    apply([AddNormalisation(norm, ("first", "second"))], model)
    assert len(model.trainable_variables) == 10
    close(model(x, training=True), by_hand(model, x, before=NORMS[norm]), 1e-4)
    moving = [v for v in model.variables if v.ndim > 1 or "norm" in v.path]
    before = [array(v) for v in moving]
    history = model.fit(x, y, batch_size=8, epochs=4, verbose=0).history["loss"]
    assert history[-1] < history[0]
    for a, b in zip(before, moving, strict=True):
        assert not np.array_equal(a, array(b))
    if norm == "batch":
        moving = [v for v in model.non_trainable_variables if "moving" in v.path]
        assert len(moving) == 4
        outputs = [array(model(part)) for part in (x[:2], x)]
        close(outputs[0], outputs[1][:2])  # each sample for itself
        found = model.predict(x, verbose=0)
        close(found, outputs[1])
    assert probe(model, batch=(x, y)).weights


def test_normalise_of_convolutions_and_of_a_model_once_trained():
    x = np.random.default_rng(0).normal(size=(6, 8, 8, 2)).astype("float32")
    y = np.arange(6) % 3
    stack = [layers.Conv2D(4, 3, activation="relu", name="conv"), layers.Flatten()]
    model = keras.Sequential([keras.Input((8, 8, 2)), *stack, layers.Dense(3, name="head")])
    model.compile("adam", LOSS, run_eagerly=True)
    model.train_on_batch(x, y)
    apply([AddNormalisation("batch", ("conv",)), Activation("relu", "tanh")], model)
    conv = model.layers[0]
    z = array(ops.conv(x, conv.kernel)) + array(conv.bias)
    inner = keras.Model(model.inputs[0], conv.output)
    close(inner(x, training=True), np.tanh(standard(z, (0, 1, 2))), 1e-4)
    losses = [float(model.train_on_batch(x, y)) for _ in range(8)]
    assert losses[-1] < losses[0]


def test_a_model_that_takes_training_and_does_not_pass_it_on():
    class Takes(Subclassed):
        def call(self, x, training=None):
            return super().call(x)

    model, (x, y) = Takes("tanh", None), rows()
    model.compile("sgd", LOSS, run_eagerly=True)
    apply([AddNormalisation("batch", ("first", "second"))], model, x)
    model.fit(x, y, verbose=0)
    moving = [v for v in model.non_trainable_variables if "moving" in v.path]
    assert all(np.ptp(array(v)) > 0 for v in moving)


@pytest.mark.once
def test_what_cannot_be_normalised():
    with pytest.raises(CannotChangeError, match="3 channels, which form no groups"):
        apply([AddNormalisation("group", ("head",))], make("sequential"))
    with pytest.raises(CannotChangeError, match="no layer 'other'"):
        apply([AddNormalisation("batch", ("other",))], make("sequential"))


# --- loss and inputs ------------------------------------------------------------------------------


def test_logits_by_the_loss(kind):
    loss = "sparse_categorical_crossentropy"
    if kind == "functional":
        loss = keras.losses.SparseCategoricalCrossentropy(name="own")
    model, (x, y) = make(kind, loss=loss, metrics=["accuracy"]), rows()
    apply([Logits(from_logits=True)], model)
    z = by_hand(model, x)
    expected = np.mean(np.log(np.exp(z).sum(-1)) - z[np.arange(len(y)), y])
    assert model.evaluate(x, y, verbose=0)[0] == pytest.approx(expected, rel=1e-4)
    assert model.train_on_batch(x, y)[0] == pytest.approx(expected, rel=1e-4)


@pytest.mark.once
def test_logits_by_the_head(kind):
    model, (x, _) = make(kind, head="sigmoid" if kind == "functional" else "softmax"), rows()
    apply([Logits(from_logits=False)], model)
    close(model(x), by_hand(model, x))
    with pytest.raises(CannotChangeError, match="closing softmax or sigmoid"):
        apply([Logits(from_logits=False)], model)


@pytest.mark.once
@pytest.mark.parametrize("functional", [False, True])
def test_a_softmax_layer_becomes_linear(functional):
    x, y = rows()
    steps = [keras.layers.Dense(3), keras.layers.Softmax()]
    model = keras.Sequential([keras.Input(x.shape[1:]), *steps])
    if functional:
        model = keras.Model(model.inputs[0], steps[1](steps[0](model.inputs[0])))
    model.compile("sgd", loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    apply([Logits(from_logits=False)], model)
    close(model(x), array(x @ array(steps[0].kernel) + array(steps[0].bias)))
    model.fit(x, y, verbose=0)


def test_a_loss_that_cannot_be_told():
    with pytest.raises(CannotChangeError, match="mean_squared_error cannot be told"):
        apply([Logits(from_logits=True)], make("sequential", loss="mse"))


@pytest.mark.once
def test_inputs(kind):
    model, (x, y) = make(kind), rows()
    expected = by_hand(model, x)
    apply([StandardiseInputs(3.0, 50.0)], model)
    raw = x * 50 + 3
    close(model(raw), expected, 1e-4)
    close(model.predict(raw, verbose=0), expected, 1e-4)
    plain = make(kind)
    for one, given in ((model, raw), (plain, x)):
        one.fit(given, y, shuffle=False, verbose=0)
    for a, b in zip(weights(model), weights(plain), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-5)
    assert probe(model, batch=(raw, y)).operations


def test_indices_are_no_inputs_to_normalise():
    stack = [layers.Embedding(9, 4), layers.Flatten(), layers.Dense(3)]
    model = keras.Sequential([keras.Input((5,)), *stack])
    model.compile("sgd", LOSS, run_eagerly=True)
    with pytest.raises(CannotChangeError, match="indices into embedding"):
        apply([StandardiseInputs(0.0, 1.0)], model)


def test_all_together(kind):
    model, (x, y) = make(kind, 5, "sigmoid", run_eagerly=kind == "functional"), rows(5)
    apply(
        [
            AddNormalisation("batch", ("first",)),
            Activation("sigmoid", "relu"),
            Initialise(("first", "second"), "relu", math.sqrt(2)),
            UseOptimizer("adam", 0.02),
            Warmup(3),
        ],
        model,
    )
    history = model.fit(x, y, batch_size=8, epochs=8, verbose=0).history["loss"]
    assert history[-1] < 0.8 * history[0]


# --- a trial --------------------------------------------------------------------------------------


class Over(BaseException):
    pass


class Refused(BaseException):
    pass


class Session:
    """Writes down what it is told, and is over after so many steps."""

    def __init__(self, *changes, steps=10**6, seed=0, withheld=0):
        self.changes, self.seed, self.steps, self.withheld = changes, seed, steps, withheld
        self.measured = False
        self.heard, self.held, self.count, self.backward = [], [], 0, []
        self.loss = self.values = self.probe = None

    def started(self):
        self.heard.append("started")

    def refuse(self, error):
        raise Refused(str(error))

    def note(self, text):
        self.heard.append(text)

    def targets(self, loss, values, place=0):
        self.loss, self.values = loss, values

    def backpropagated(self, loss, own):
        self.backward.append((loss, own))

    def held_out(self, loss, examples):
        self.held.append((loss, examples))

    def epoch(self, steps):
        self.heard.append(steps)

    def stepped(self):
        self.count += 1
        return self.count >= self.steps

    def probed(self, probe):
        self.probe = probe

    def over(self):
        raise Over


@pytest.fixture
def tried():
    armed = []

    def begin(*args, **kwargs):
        session = Session(*args, **kwargs)
        armed.append(arm(session))
        return session

    yield begin
    for one in reversed(armed):
        one.disarm()


def test_a_trial(tried, kind):
    session = tried(SetRate(0.05), steps=8)
    model, (x, y) = make(kind, run_eagerly=False), rows()
    twin = make(kind, optimizer=keras.optimizers.SGD(0.05))
    with pytest.raises(Over):
        model.fit(x, y, batch_size=4, epochs=9, shuffle=False, verbose=0)
    assert session.heard == [6, "started"]
    assert session.loss == "crossentropy"
    np.testing.assert_array_equal(session.values, y)
    assert session.count == 8
    assert session.probe.batch_size == 4
    assert session.probe.optimizer.learning_rate == pytest.approx(0.05)
    twin.fit(x, y, batch_size=4, shuffle=False, verbose=0)  # a second model: left alone
    twin.fit(x[:8], y[:8], batch_size=4, shuffle=False, verbose=0)
    assert session.count == 8
    for a, b in zip(weights(model), weights(twin), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-6)


def test_train_on_batch_and_further_fits(tried):
    session = tried(UseOptimizer("adam", 0.01), steps=6)
    model, (x, y) = make("functional", loss="mse"), rows()
    model.train_on_batch(x, y[:, None] * np.ones(3))
    assert (session.heard, session.loss, session.count) == (["started"], "mse", 1)
    assert isinstance(model.optimizer, keras.optimizers.Adam)
    model.fit(x, y[:, None] * np.ones(3), batch_size=12, verbose=0)
    assert (session.heard, session.count) == (["started", 2], 3)
    with pytest.raises(Over):
        model.fit(x, y[:, None] * np.ones(3), batch_size=6, verbose=0)
    assert session.count == 6


def test_a_model_with_optimizers_of_its_own_cannot_be_changed_live(tried):
    session = tried(SetRate(0.05))
    model, (x, y) = make("functional"), rows()
    model.of_the_critic = keras.optimizers.SGD(0.1)
    model.fit(x, y, batch_size=12, verbose=0)
    assert (session.heard, session.count) == ([], 0)


@pytest.mark.skipif(keras.backend.backend() == "torch", reason="Keras has no such call on PyTorch")
def test_several_steps_in_one_call(tried):
    session = tried()
    model, (x, y) = make("sequential", steps_per_execution=4, run_eagerly=False), rows()
    model.fit(x, y, batch_size=4, epochs=2, verbose=0)
    assert session.count == 12
    assert session.heard == [6, "started"]


def test_a_model_not_yet_built_and_a_generator(tried):
    session = tried(Activation("relu", "tanh"), Initialise(("dense",), "tanh", 1.0), steps=7)
    model = keras.Sequential([layers.Dense(4, "relu", name="dense"), layers.Dense(3)])
    model.compile("sgd", LOSS, run_eagerly=True)
    x, y = rows(2, 40)
    seen = []

    def batches():
        for i in range(0, 40, 8):
            seen.append(i)
            yield x[i : i + 8], y[i : i + 8]

    model.fit(batches(), shuffle=False, verbose=0)
    assert seen == [0, 8, 16, 24, 32]
    assert session.heard == ["started", 5]
    assert session.count == 5
    np.testing.assert_array_equal(session.values, y)
    close(model(x), by_hand(model, x))


def test_datasets(tried):
    class Batches(keras.utils.PyDataset):
        def __len__(self):
            return 3

        def __getitem__(self, index):
            return tuple(part[index * 8 : index * 8 + 8] for part in rows())

    session = tried(steps=4)
    with pytest.raises(Over):
        make("subclassed").fit(Batches(), epochs=2, verbose=0)
    assert session.heard == [3, "started"]
    np.testing.assert_array_equal(session.values, rows()[1])
    assert session.probe is not None


def test_mixed_precision(tried):
    session = tried(
        AddNormalisation("batch", ("first",)),
        UseOptimizer("adam", 0.01),
        StandardiseInputs(0.1, 2.0),
        steps=4,
    )
    keras.mixed_precision.set_global_policy("mixed_float16")
    try:
        model = make("functional", optimizer="sgd", run_eagerly=False)
        with pytest.raises(Over):
            model.fit(*rows(), batch_size=6, verbose=0)
    finally:
        keras.mixed_precision.set_global_policy("float32")
    assert isinstance(model.optimizer, keras.optimizers.LossScaleOptimizer)
    assert session.probe.optimizer.name == "Adam"
    assert all(np.isfinite(v).all() for v in weights(model))


def test_a_change_that_does_not_fit(tried):
    tried(Beta2(0.9))
    model = make("sequential")
    before = weights(model)
    with pytest.raises(Refused, match="no beta_2"):
        model.fit(*rows(), verbose=0)
    for a, b in zip(before, weights(model), strict=True):
        np.testing.assert_array_equal(a, b)


def test_a_probe_that_fails_hides_nothing(tried, monkeypatch):
    def fails(*_, **__):
        raise ValueError

    monkeypatch.setattr("evengrad.adapters.keras.trying.probe", fails)
    session = tried(steps=2)
    with pytest.raises(Over):
        make("sequential").fit(*rows(), batch_size=4, verbose=0)
    assert session.probe is None


def plain(kind):
    keras.utils.set_random_seed(7)
    compiled = {"run_eagerly": kind != "functional"}
    model = make(kind, 7, optimizer="adam", activation="relu", **compiled)
    model.fit(*rows(7, 16), batch_size=4, epochs=2, verbose=0)
    return weights(model)


def test_without_changes_nothing_changes(tried, kind):
    expected = plain(kind)
    session = tried()
    for a, b in zip(expected, plain(kind), strict=True):
        np.testing.assert_array_equal(a, b)
    assert session.count == 8


def test_seeds_are_moved_alike():
    original = keras.utils.set_random_seed
    armed = arm(Session(seed=5))
    unseeded = random.random()
    keras.utils.set_random_seed(3)
    moved = random.random()
    armed.disarm()
    assert keras.utils.set_random_seed is original
    for seed, drawn in ((5, unseeded), (8, moved)):
        keras.utils.set_random_seed(seed)
        assert random.random() == drawn


def test_disarm_restores_keras():
    fit, train = keras.Model.fit, keras.Model.train_on_batch
    arm(Session()).disarm()
    assert (keras.Model.fit, keras.Model.train_on_batch) == (fit, train)


class Live:
    """A live session that counts runs and steps."""

    script, closed = "script", False

    def __init__(self):
        self.settings = Settings(every=2, folder=None)
        self.runs = self.steps = 0

    def watching(self, subject):
        self.runs += 1
        return Watching(self.settings, subject, self)

    def step(self, step):
        self.steps += 1

    def nothing(self, *_):
        pass

    begin = detail = event = end = nothing

    def trouble(self, error):
        raise error


def train(model, way, x, y):
    if way == "fit":
        model.fit(x, y, batch_size=4, epochs=3, verbose=0)
    for _ in range(9):
        model.train_on_batch(x, y)


@pytest.mark.parametrize("first", ["live", "trying"])
@pytest.mark.parametrize("way", ["fit", "train_on_batch"])
def test_with_a_watch(first, way):
    watch, session = (
        Live(),
        Session(AddNormalisation("batch", ("first",)), UseOptimizer("adam", 0.01), steps=7),
    )
    makers = [lambda: live.arm(watch), lambda: arm(session)]
    armed = [make_() for make_ in (makers if first == "live" else reversed(makers))]
    try:
        model, (x, y) = make("subclassed", run_eagerly=False), rows()
        with pytest.raises(Over):
            train(model, way, x, y)
    finally:
        for one in reversed(armed):
            one.disarm()
    assert session.count == 7
    assert session.probe is not None
    assert (watch.runs, watch.steps) == (1, 7)


# --- withheld examples ----------------------------------------------------------------------------------


def trained(tried, kind, x, y, withheld=4, **compiled):
    """Two full steps; the weights, and what was held back."""
    session = tried(withheld=withheld)
    model = make(kind, **compiled)
    model.fit(x, y, batch_size=len(x), epochs=2, shuffle=False, verbose=0)
    return model, session.held


def touches(tried, kind, x, y):
    """Which rows' labels change the weights."""
    plain = weights(trained(tried, kind, x, y)[0])
    found = []
    for i in range(len(x)):
        other = y.copy()
        other[i] = (y[i] + 1) % 3
        now = weights(trained(tried, kind, x, other)[0])
        found.append(any(not np.array_equal(a, b) for a, b in zip(plain, now, strict=True)))
    return np.array(found)


@pytest.mark.parametrize(
    "kind",
    [
        "functional",
        *(pytest.param(k, marks=pytest.mark.once) for k in ("sequential", "subclassed")),
    ],
)
def test_withheld_examples_are_not_trained_on(tried, kind):
    x, y = rows(3, 20)
    out = ~touches(tried, kind, x, y)
    model, held = trained(tried, kind, x, y)
    assert 1 < out.sum() < 10
    assert [count for _, count in held] == [out.sum()] * 2
    twin = make(kind)
    kept = np.flatnonzero(~out)
    repeated = np.concatenate([kept, kept[: out.sum()]])
    for loss, _ in held:
        expected = float(LOSS(y[out], twin(x[out])))
        assert loss == pytest.approx(expected, rel=1e-5)
        twin.train_on_batch(x[repeated], y[repeated])
    for a, b in zip(weights(model), weights(twin), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-6)


def test_withheld_in_a_compiled_step(tried, kind):
    """Compiled as eagerly; the logs do not show it."""
    x, y = rows(3, 40)
    _, eager = trained(tried, kind, x, y)
    model, compiled = trained(tried, kind, x, y, run_eagerly=False)
    assert np.array(compiled) == pytest.approx(np.array(eager), rel=1e-5)
    assert len(compiled) == 2
    assert model.history.history.keys() == {"loss"}


def test_what_is_not_finite_is_not_withheld(tried):
    x, y = rows(3, 20)
    out = ~touches(tried, "functional", x, y)
    x[np.flatnonzero(out)[0], 2] = np.nan
    _, held = trained(tried, "functional", x, y)
    assert held[0][1] == out.sum() - 1
    assert np.isfinite(held[0][0])


def test_small_batches_withhold_nothing(tried):
    x, y = rows(3, 6)
    model, held = trained(tried, "functional", x, y)
    plain, _ = trained(tried, "functional", x, y, withheld=0)
    assert held == []
    for a, b in zip(weights(model), weights(plain), strict=True):
        np.testing.assert_array_equal(a, b)


def test_withholding_ends_with_the_session():
    session = Session(withheld=4)
    armed = arm(session)
    model = make("functional", run_eagerly=False)
    model.fit(*rows(3, 20), batch_size=20, verbose=0)
    count = len(session.held)
    armed.disarm()
    assert count == 1
    assert "compute_loss" not in vars(model)
    assert [m.name for m in model.metrics] == ["loss"]


def test_a_last_probe_that_fails_by_our_fault_is_told(tried, monkeypatch):
    """The trial's losses are what counts; the failure is said all the same."""
    told = []
    session = tried(steps=4)
    monkeypatch.setattr(trying, "probe", lambda *_, **__: 1 / 0)
    with failure.listening(told.append), pytest.raises(Over):
        make("functional").fit(*rows(), batch_size=4, verbose=0)
    assert (session.count, session.probe) == (4, None)
    assert "division by zero" in str(told)
