"""Loops of the script's own, watched: not a bit is changed, nothing bad reaches a weight, and no error of ours
ends them.
"""

import traceback

import keras
import numpy as np
import pytest
from keras import layers, ops

import evengrad
from evengrad.adapters.keras import script
from evengrad.adapters.keras.live import arm
from evengrad.recording.guard import GuardStopError, parse
from evengrad.recording.session import Watching
from evengrad.recording.settings import Settings

pytestmark = pytest.mark.keras
BACKEND = keras.backend.backend()
LOSS = keras.losses.SparseCategoricalCrossentropy(from_logits=True)


class Session:
    """What ``run`` gives an adapter."""

    script = "train.py"
    closed = False

    def __init__(self, settings):
        self.settings = settings
        self.runs = []
        self.errors = []

    def watching(self, subject):
        self.runs.append(Watching(self.settings, subject))
        return self.runs[-1]

    def trouble(self, error):
        self.errors.append(error)
        traceback.print_exception(error)


@pytest.fixture(autouse=True)
def float32():
    yield
    keras.mixed_precision.set_global_policy("float32")


def data(seed=0, rows=72):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(rows, 6, 6, 1)).astype("float32"), rng.integers(0, 4, rows)


def network(name=None):
    return keras.Sequential(
        [
            keras.Input((6, 6, 1)),
            layers.Conv2D(3, 3, activation="relu", name="conv"),
            layers.BatchNormalization(name="bn"),
            layers.Flatten(name="flat"),
            layers.Dropout(0.2, name="drop"),
            layers.Dense(4, dtype="float32", name="head"),
        ],
        name=name,
    )


def watched(train, folder, guard="stop", every=5):
    """What the training gave, its session and its runs."""
    session = Session(Settings(every=every, folder=folder, guard=parse(guard)))
    armed = arm(session)
    try:
        found = train()
    finally:
        armed.disarm()
        for one in session.runs:
            one.end("finished")
    return found, session, [evengrad.load(one.path) for one in session.runs]


def values(*owners):
    """Weights, moving statistics and optimizer states."""
    variables = [v for owner in owners for v in owner.variables if "seed" not in v.path]
    return [np.array(ops.convert_to_numpy(v)) for v in variables]


def assert_same(one, other):
    assert len(one) == len(other)
    for a, b in zip(one, other, strict=True):
        np.testing.assert_array_equal(a, b)


def finite(arrays):
    return all(np.isfinite(a).all() for a in arrays)


def batches(count, spoiled=None, rows=8):
    x, y = data(1, count * rows)
    for i in range(count):
        part = x[i * rows : (i + 1) * rows]
        if i == spoiled:
            part = part.copy()
            part[0] = np.nan
        yield part, y[i * rows : (i + 1) * rows]


# --- TensorFlow: GradientTape ------------------------------------------------------------------------


def tape(optimizer="adam", how="function", count=14, spoiled=None, policy=None, accumulate=0):
    """A loop as the guides write it; gives its losses and everything that it has trained."""
    import tensorflow as tf

    keras.utils.set_random_seed(3)
    keras.mixed_precision.set_global_policy(policy or "float32")
    model = network()
    optimizer = keras.optimizers.get(optimizer() if callable(optimizer) else optimizer)
    if policy:
        optimizer = keras.mixed_precision.LossScaleOptimizer(optimizer, initial_scale=128.0)
    sums = [tf.Variable(tf.zeros_like(v)) for v in model.trainable_variables]

    def differentiate(x, y):
        with tf.GradientTape() as tape:
            loss = LOSS(y, model(x, training=True))
            scaled = optimizer.scale_loss(loss)
        return loss, tape.gradient(scaled, model.trainable_variables)

    def step(x, y):
        loss, gradients = differentiate(x, y)
        optimizer.apply_gradients(zip(gradients, model.trainable_variables, strict=True))
        return loss

    def add(x, y):
        loss, gradients = differentiate(x, y)
        for total, gradient in zip(sums, gradients, strict=True):
            total.assign_add(gradient / accumulate)
        return loss

    def flush():
        optimizer.apply_gradients(zip(sums, model.trainable_variables, strict=True))
        for total in sums:
            total.assign(tf.zeros_like(total))

    if how != "eager":
        step, add, flush = (tf.function(f, jit_compile=how == "jit") for f in (step, add, flush))
    losses = []
    for number, (x, y) in enumerate(batches(count, spoiled)):
        if accumulate:
            losses.append(float(add(x, y)))
            if (number + 1) % accumulate == 0:
                flush()
        else:
            losses.append(float(step(x, y)))
    return losses, values(model, optimizer)


TAPES = {
    "function": {},
    "eager": {"how": "eager"},
    "jit": {"how": "jit"},
    "sgd": {"optimizer": lambda: keras.optimizers.SGD(0.05, momentum=0.9)},
    "eager_sgd": {"how": "eager", "optimizer": lambda: keras.optimizers.SGD(0.05)},
    "mixed": {"policy": "mixed_float16"},
    "accumulated": {"accumulate": 2, "count": 28},
}
tensorflow = pytest.mark.skipif(BACKEND != "tensorflow", reason="a tape is TensorFlow's")


@tensorflow
@pytest.mark.parametrize("name", TAPES)
def test_watching_a_tape_changes_no_bit(name, tmp_path):
    given = TAPES[name]
    losses, weights = tape(**given)
    (again, after), session, (run,) = watched(lambda: tape(**given), tmp_path)
    assert not session.errors
    assert losses == again
    assert_same(weights, after)
    assert run.status == "finished"
    assert run.steps["step"].tolist() == list(range(14))
    assert np.isfinite(run.steps["norm"]).all()
    if "accumulate" not in given:
        np.testing.assert_allclose(run.steps["loss"], losses, rtol=1e-5)
    assert {t.layer for t in run.subject.tensors} == {"conv", "bn", "head"}
    assert run.subject.model == "model"


@tensorflow
@pytest.mark.parametrize("how", ["function", "eager", "jit"])
def test_a_nan_is_held_back(how, tmp_path):
    """Weights, moving statistics and optimizer state."""
    (losses, after), session, (run,) = watched(
        lambda: tape(how=how, spoiled=6), tmp_path, guard="skip:3"
    )
    assert not session.errors
    assert finite(after)
    assert np.isfinite(losses[7:]).all()
    assert [bool(a) for a in run.steps["applied"]] == [i != 6 for i in range(14)]
    assert not finite(tape(how=how, spoiled=6)[1])


@tensorflow
@pytest.mark.parametrize("how", ["function", "eager"])
def test_the_guard_stops(how, tmp_path):
    with pytest.raises(GuardStopError, match="Step 6"):
        watched(lambda: tape(how=how, spoiled=6), tmp_path)


@tensorflow
def test_what_cannot_begin_is_said_once(tmp_path, monkeypatch):
    from evengrad.adapters.keras.tap import loops

    def broken(*_):
        raise RuntimeError("broken on purpose")

    losses, _ = tape()
    monkeypatch.setattr(loops, "WatchedLoop", broken)
    (again, _), session, runs = watched(tape, tmp_path)
    assert losses == again
    assert len(session.errors) == 1
    assert runs == []


@tensorflow
def test_arming_leaves_it_to_the_script_which_devices_there_are(tmp_path, monkeypatch):
    """With its first tensor TensorFlow settles them: memory growth, virtual devices."""
    import tensorflow as tf

    def settled(*_, **__):
        raise AssertionError("a tensor was made")

    for place, name in ((tf, "constant"), (tf.Variable, "__init__"), (tf, "convert_to_tensor")):
        monkeypatch.setattr(place, name, settled)
    arm(Session(Settings(folder=tmp_path))).disarm()
    script.arm(Checking()).disarm()


# --- several models and optimizers --------------------------------------------------------------------


def adversaries(how="function", count=12, spoiled=None):
    import tensorflow as tf

    keras.utils.set_random_seed(4)
    critic, generator = (
        network("critic"),
        keras.Sequential(
            [
                keras.Input((5,)),
                layers.Dense(36, activation="tanh", name="dense"),
                layers.Reshape((6, 6, 1), name="shape"),
            ]
        ),
    )
    c_optimizer, g_optimizer = keras.optimizers.Adam(1e-3), keras.optimizers.SGD(1e-3)

    def step(x):
        noise = tf.random.stateless_normal((8, 5), seed=(1, 2))
        for _ in range(2):
            with tf.GradientTape() as tape:
                fake = critic(generator(noise, training=True), training=True)
                c_loss = tf.reduce_mean(fake) - tf.reduce_mean(critic(x, training=True))
            gradients = tape.gradient(c_loss, critic.trainable_variables)
            c_optimizer.apply_gradients(zip(gradients, critic.trainable_variables, strict=True))
        with tf.GradientTape() as tape:
            g_loss = -tf.reduce_mean(critic(generator(noise, training=True), training=True))
        gradients = tape.gradient(g_loss, generator.trainable_variables)
        g_optimizer.apply_gradients(zip(gradients, generator.trainable_variables, strict=True))
        return c_loss, g_loss

    step = step if how == "eager" else tf.function(step)
    losses = [float(v) for x, _ in batches(count, spoiled) for v in step(x)]
    return losses, values(critic, generator, c_optimizer, g_optimizer)


@tensorflow
@pytest.mark.parametrize("how", ["function", "eager"])
def test_each_optimizer_has_its_run(how, tmp_path):
    losses, weights = adversaries(how)
    (again, after), session, runs = watched(lambda: adversaries(how), tmp_path)
    assert not session.errors
    assert losses == again
    assert_same(weights, after)
    assert [run.subject.model for run in runs] == ["critic", "generator"]
    assert [run.subject.optimizer for run in runs] == ["Adam", "SGD"]
    critic, generator = runs
    assert len(critic.steps["step"]) == 24
    assert len(generator.steps["step"]) == 12
    np.testing.assert_allclose(critic.steps["loss"][1::2], losses[::2], rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(generator.steps["loss"], losses[1::2], rtol=1e-4, atol=1e-6)


# --- check -----------------------------------------------------------------------------------------------


class Stopped(BaseException):
    pass


class Checking:
    """What ``check`` gives an adapter."""

    precise = several = False

    def starting(self):
        pass

    def deliver(self, probe):
        self.probe = probe
        raise Stopped

    def fail(self, error):
        raise error

    trouble = fail


def checked(train):
    session = Checking()
    armed = script.arm(session)
    try:
        with pytest.raises(Stopped):
            train()
    finally:
        armed.disarm()
    return session.probe


@tensorflow
@pytest.mark.parametrize("name", ["function", "eager", "mixed"])
def test_a_tape_is_checked_at_its_first_step(name):
    given = TAPES[name]
    losses, _ = tape(**given)
    found = checked(lambda: tape(**given))
    assert found.model == "model"
    assert found.batch_size == 8
    assert found.loss.name == "SparseCategoricalCrossentropy"
    assert found.loss.family == "sparse_categorical"
    assert found.loss.value == pytest.approx(losses[0], rel=0.3)  # dropout draws again
    assert found.rate is not None
    assert len(found.operations) > 5
    assert found.notes == ()
    assert found.optimizer.name == "Adam"
    assert len(found.weights) == 6
    assert all(w.gradient is not None and w.update is not None for w in found.weights)
    assert all(0 < w.gradient.rms < 1 for w in found.weights if w.name != "conv/bias")


@tensorflow
def test_a_check_looks_at_every_optimizer_and_gives_the_first():
    found = checked(adversaries)
    assert found.model == "critic"
    assert "generator (SGD) are finite" in found.notes[-1]


@tensorflow
def test_of_several_optimizers_the_one_with_nan_is_shown():
    found = checked(lambda: adversaries(spoiled=0))
    assert found.model == "critic"
    assert any(w.gradient.non_finite for w in found.weights)


@tensorflow
def test_layers_that_add_the_loss_and_steps_of_the_users_own():
    class Shrinks(layers.Layer):
        def call(self, x):
            self.add_loss(ops.mean(ops.square(x)))
            return x

    class Own(keras.Model):
        def train_step(self, data):
            import tensorflow as tf

            with tf.GradientTape() as tape:
                loss = tf.reduce_mean(self(data) ** 2)
            gradients = tape.gradient(loss, self.trainable_variables)
            self.optimizer.apply_gradients(zip(gradients, self.trainable_variables, strict=True))
            return {"loss": loss}

    x = data(5)[0].reshape(72, 36)
    added = keras.Sequential([keras.Input((36,)), layers.Dense(4), Shrinks()], name="added")
    inputs = keras.Input((36,))
    own = Own(inputs, layers.Dense(4)(inputs), name="mine")
    for one in (added, own):
        one.compile(optimizer="sgd")
        found = checked(lambda one=one: one.fit(x, batch_size=8, verbose=0, shuffle=False))
        expected = float(np.mean(np.square(one.predict(x[:8], verbose=0))))
        assert found.model == one.name
        assert found.loss.value == pytest.approx(expected, rel=1e-4)
        assert len(found.weights) == 2


# --- JAX and PyTorch ---------------------------------------------------------------------------------------


def jax_loop(spoiled=None, compiled=True, count=14):
    """As Keras' guide writes it; the state is the script's own."""
    import jax

    keras.utils.set_random_seed(3)
    model, optimizer = network(), keras.optimizers.Adam(1e-2)

    def loss_and_updates(trained, rest, x, y):
        predicted, rest = model.stateless_call(trained, rest, x, training=True)
        return LOSS(y, predicted), rest

    grad = jax.value_and_grad(loss_and_updates, has_aux=True)

    def step(state, x, y):
        trained, rest, own = state
        (loss, rest), gradients = grad(trained, rest, x, y)
        trained, own = optimizer.stateless_apply(own, gradients, trained)
        return loss, (trained, rest, own)

    step = jax.jit(step) if compiled else step
    optimizer.build(model.trainable_variables)
    parts = model.trainable_variables, model.non_trainable_variables, optimizer.variables
    state = tuple([v.value for v in part] for part in parts)
    losses = []
    for x, y in batches(count, spoiled):
        loss, state = step(state, x, y)
        losses.append(float(loss))
    return losses, [np.array(v) for v in (*state[0], *state[2])]


def torch_loop(spoiled=None, count=14, **_):
    import torch

    keras.utils.set_random_seed(3)
    model, optimizer = network(), keras.optimizers.Adam(1e-2)
    losses = []
    for x, y in batches(count, spoiled):
        loss = LOSS(torch.as_tensor(y), model(x, training=True))
        model.zero_grad()
        loss.backward()
        gradients = [v.value.grad for v in model.trainable_variables]
        with torch.no_grad():
            optimizer.apply(gradients, model.trainable_variables)
        losses.append(loss.item())
    return losses, values(model, optimizer)


others = pytest.mark.skipif(BACKEND == "tensorflow", reason="the tests above are TensorFlow's")
other = {"jax": jax_loop, "torch": torch_loop}.get(BACKEND)
KINDS = [True, False] if BACKEND == "jax" else [False]


@others
@pytest.mark.parametrize("compiled", KINDS)
def test_watching_changes_no_bit_on_other_backends(compiled, tmp_path):
    losses, weights = other(compiled=compiled)
    (again, after), session, (run,) = watched(lambda: other(compiled=compiled), tmp_path)
    assert not session.errors
    assert losses == again
    assert_same(weights, after)
    assert run.steps["step"].tolist() == list(range(14))
    np.testing.assert_allclose(run.steps["loss"], losses, rtol=1e-5)
    assert np.isfinite(run.steps["norm"]).all()
    assert run.subject.model == "model"


@others
@pytest.mark.parametrize("compiled", KINDS)
def test_a_nan_is_held_back_on_other_backends(compiled, tmp_path):
    (_, after), session, (run,) = watched(
        lambda: other(6, compiled=compiled), tmp_path, guard="skip:3"
    )
    assert not session.errors
    assert finite(after)
    assert not run.steps["applied"][6]
    assert not finite(other(6, compiled=compiled)[1])


@others
def test_a_first_step_is_checked_on_other_backends():
    losses, _ = other()
    found = checked(other)
    assert found.batch_size == 8
    assert found.loss.value == pytest.approx(losses[0], rel=0.3)
    assert len(found.weights) == 6
    assert all(w.gradient is not None for w in found.weights)
    assert found.optimizer.name == "Adam"


# --- TensorFlow: without an optimizer ----------------------------------------------------------------


def by_hand(how="function", count=14, rate=0.05):
    """Weights that the loop moves itself."""
    import tensorflow as tf

    keras.utils.set_random_seed(3)
    model = network()

    def step(x, y):
        with tf.GradientTape() as tape:
            loss = LOSS(y, model(x, training=True))
        weights = model.trainable_variables
        for weight, gradient in zip(weights, tape.gradient(loss, weights), strict=True):
            weight.assign_sub(rate * gradient)
        return loss

    step = tf.function(step) if how == "function" else step
    return [float(step(x, y)) for x, y in batches(count)], values(model)


@tensorflow
@pytest.mark.parametrize("how", ["function", "eager"])
def test_a_loop_without_an_optimizer_is_watched_and_not_changed(how, tmp_path):
    losses, alone = by_hand(how)
    (seen, trained), session, runs = watched(lambda: by_hand(how), tmp_path)
    assert session.errors == []
    assert seen == losses
    assert_same(trained, alone)
    (run,) = runs
    assert len(run.steps["step"]) == 14
    np.testing.assert_allclose(run.steps["rate"], 0.05, rtol=1e-3)


@tensorflow
def test_a_loop_without_an_optimizer_is_checked():
    assert checked(by_hand).optimizer.name == "SGD"


@tensorflow
@pytest.mark.parametrize(
    "place",
    ["untracked.Untracked._tracks", "unreached.Unreached._maker", "by_hand.ByHand._step"],
)
def test_a_broken_listener_lets_the_loop_go_on(place, tmp_path, monkeypatch, caplog):
    import tensorflow as tf

    def broken(*_):
        raise RuntimeError("broken")

    def train():
        keras.utils.set_random_seed(3)
        net = network()
        for number in range(3):
            with tf.GradientTape() as tape:
                made = net(data(number)[0], training=True)
                loss = tf.reduce_mean((made - tf.stop_gradient(made) + 1.0) ** 2)
            found = tape.gradient(loss, net.trainable_variables)
            for variable, gradient in zip(net.trainable_variables, found, strict=True):
                variable.assign_sub(0.1 * gradient)
        return net

    plain = train()
    monkeypatch.setattr(f"evengrad.adapters.keras.tap.{place}", broken)
    found, *_ = watched(train, tmp_path)
    assert_same(values(plain), values(found))
    assert sum("evengrad itself failed" in r.message for r in caplog.records) == 1
