"""Patched Keras scripts run, and train as the live change does."""

from functools import partial

import keras
import numpy as np
import pytest

from evengrad.adapters.keras.change.change import apply
from evengrad.fixing.changes.add_normalisation import AddNormalisation
from evengrad.fixing.changes.decay import Decay
from evengrad.fixing.changes.finite import Finite
from evengrad.fixing.changes.initialise import Initialise
from evengrad.fixing.changes.loss_scale import LossScale
from evengrad.fixing.changes.pretrained import Pretrained
from evengrad.fixing.changes.rate_by_loss import RateByLoss
from evengrad.fixing.changes.skip import Skip
from evengrad.fixing.changes.unit_variance import UnitVariance
from evengrad.fixing.changes.warmup import Warmup
from evengrad.fixing.patch import write
from evengrad.values.change import in_order

pytestmark = [pytest.mark.keras, pytest.mark.once]
HEAD = """
import keras
import numpy as np

keras.utils.set_random_seed(3)
rng = np.random.default_rng(0)
x = rng.normal(size=(16, 4)).astype("float32")
y = (x[:, 0] > 0).astype("int64")
"""
MODELS = {
    "list": """
model = keras.Sequential([
    keras.Input((4,)),
    keras.layers.Dense(4, activation="tanh", name="a"),
    keras.layers.Dense(4, name="b"),
    keras.layers.LayerNormalization(name="norm"),
    keras.layers.Activation("tanh"),
    keras.layers.Dense(2, name="head"),
])
""",
    "add": """
model = keras.Sequential()
model.add(keras.Input((4,)))
model.add(keras.layers.Dense(4, activation="tanh", name="a"))
model.add(keras.layers.Dense(4, name="b"))
model.add(keras.layers.LayerNormalization(name="norm"))
model.add(keras.layers.Activation("tanh"))
model.add(keras.layers.Dense(2, name="head"))
""",
    "functional": """
inputs = keras.Input((4,))
h = keras.layers.Dense(4, activation="tanh", name="a")(inputs)
h = keras.layers.Dense(4, name="b")(h)
h = keras.layers.LayerNormalization(name="norm")(h)
h = keras.layers.Activation("tanh")(h)
model = keras.Model(inputs, keras.layers.Dense(2, name="head")(h))
""",
    "class": """
class Net(keras.Model):
    def __init__(self):
        super().__init__()
        self.a = keras.layers.Dense(4, activation="tanh", name="a")
        self.b = keras.layers.Dense(4, name="b")
        self.norm = keras.layers.LayerNormalization(name="norm")
        self.head = keras.layers.Dense(2, name="head")

    def call(self, x):
        x = self.a(x)
        x = keras.activations.tanh(self.norm(self.b(x)))
        return self.head(x)

model = Net()
""",
}
LOSS = "keras.losses.SparseCategoricalCrossentropy(from_logits=True)"
END = f"""
model.compile(optimizer="sgd", loss={LOSS})
history = model.fit(x, y, batch_size=8, epochs=2, shuffle=False, verbose=0)
"""


def script(kind, optimizer='"sgd"'):
    return HEAD + MODELS[kind] + END.replace('"sgd"', optimizer)


def run(text):
    bound = {"__name__": "__main__"}
    exec(compile(text, "after.py", "exec"), bound)
    return bound


def live(text, *changes):
    before, fit, after = text.rpartition("history")
    bound = run(before)
    made = apply(in_order(changes), bound["model"], bound["x"][:8])
    if made.batch_ends:  # a trial's own callback calls them
        follow = keras.callbacks.LambdaCallback(
            on_train_batch_end=lambda _, logs: [end(logs) for end in made.batch_ends]
        )
        bound["model"].fit = partial(bound["model"].fit, callbacks=[follow])
    exec(fit + after, bound)
    return bound


def patched(text, *changes):
    patch = write(text, changes, "keras")
    assert patch.manual == ()
    return run(patch.after)


def same(text, *changes):
    """The model and the losses of both."""
    mine, theirs = patched(text, *changes), live(text, *changes)
    losses = [bound["history"].history["loss"] for bound in (mine, theirs)]
    assert losses[0] == pytest.approx(losses[1], rel=2e-4)
    assert losses[0] != pytest.approx(run(text)["history"].history["loss"], rel=1e-5)
    return mine["model"]


@pytest.mark.parametrize("kind", MODELS)
def test_skip(kind, tmp_path):
    model = same(script(kind), Skip(("a", "b")))
    scales = [w for w in model.trainable_weights if w.name == "scale"]
    assert len(scales) == 2
    x = np.ones((2, 4), "float32")
    if kind != "class":
        model.save(tmp_path / "m.keras")
        found = keras.models.load_model(tmp_path / "m.keras").predict(x, verbose=0)
        np.testing.assert_allclose(found, model.predict(x, verbose=0), atol=1e-6)


@pytest.mark.parametrize(
    "given", ["keras.layers.LeakyReLU(negative_slope=0.2)", "keras.activations.gelu"]
)
def test_skip_of_an_activation_that_is_no_string(given, tmp_path):
    text = script("list").replace('activation="tanh", name="a"', f'activation={given}, name="a"')
    model = same(text, Skip(("a",)))
    if "layers" in given:
        model.save(tmp_path / "m.keras")
        again = keras.models.load_model(tmp_path / "m.keras")
        x = np.ones((2, 4), "float32")
        np.testing.assert_allclose(again.predict(x), model.predict(x), atol=1e-6)


@pytest.mark.parametrize("change", [(), (Skip(("a",)),)])
def test_a_batch_normalisation_in_a_class_is_told_of_training(change):
    model = same(script("class"), AddNormalisation("batch", ("a",)), *change)
    moving = [w for w in model.weights if w.name == "moving_mean"]
    assert all(np.ptp(keras.ops.convert_to_numpy(w)) > 0 for w in moving)


@pytest.mark.parametrize("kind", ["list", "class"])
def test_finite(kind):
    bad = "\nx[0, 1], x[1, 2] = np.nan, np.inf\n"
    text = script(kind).replace("\nmodel.compile", bad + "model.compile")
    model = same(text, Finite())
    assert all(np.isfinite(keras.ops.convert_to_numpy(w)).all() for w in model.weights)


def test_loss_scale():
    text = script("list", "keras.optimizers.Adam(0.01)")
    scaled = patched(text, LossScale(1024.0))
    assert isinstance(scaled["model"].optimizer, keras.optimizers.LossScaleOptimizer)
    found = [b["history"].history["loss"] for b in (scaled, live(text, LossScale(1024.0)))]
    assert found[0] == pytest.approx(found[1], rel=1e-4)


@pytest.mark.parametrize("name", ["w.weights.h5", "w.safetensors"])
def test_pretrained(name, tmp_path):
    from safetensors.numpy import save_file

    other = run(script("list").replace("seed(3)", "seed(4)").replace("Dense(2,", "Dense(3,"))
    path = tmp_path / name
    if name.endswith("h5"):
        other["model"].save_weights(path)
    else:
        found = {w.path: keras.ops.convert_to_numpy(w) for w in other["model"].weights}
        save_file(found, path)
    model = same(script("list"), Pretrained(str(path), 0.0))
    assert [w.path.split("/")[-2] for w in model.trainable_weights] == ["head", "head"]


@pytest.mark.parametrize("kind", ["list", "add", "functional"])
def test_unit_variance(kind):
    text = script(kind).replace("epochs=2", "epochs=0")
    for made in (patched, live):
        bound = made(text, UnitVariance(("a", "b", "head")))
        h = bound["x"][:8]
        for layer in bound["model"].layers[kind == "functional" :]:  # behind its InputLayer
            if hasattr(layer, "kernel"):
                plain = h @ keras.ops.convert_to_numpy(layer.kernel)
                assert plain.std() == pytest.approx(1.0, abs=0.02)
            h = keras.ops.convert_to_numpy(layer(h))


def test_orthogonal_weights():
    wide = script("list").replace("Dense(4, name", "Dense(9, name")
    change = Initialise(("a", "b"), "tanh", 1.5, "orthogonal")
    for made in (patched, live):
        text = wide.replace("epochs=2", "epochs=0")
        model = made(text, change)["model"]
        for layer, factor in ((model.layers[0], 1), (model.layers[1], 9 / 4)):
            kernel = keras.ops.convert_to_numpy(layer.kernel)
            product = kernel @ kernel.T
            np.testing.assert_allclose(product, 2.25 * factor * np.eye(4), atol=1e-4)


def test_a_decay_behind_a_warm_up():
    text = script("list", "keras.optimizers.SGD(0.5)")
    same(text, Warmup(2), Decay(4))


def test_a_rate_that_follows_the_loss():
    model = same(script("list"), RateByLoss(0.5, 2.0, 5.0, 1.0))
    rate = float(keras.ops.convert_to_numpy(model.optimizer.learning_rate))
    assert 1 / 12 < rate < 0.5


def test_what_is_left_to_the_user():
    for change, words in (
        (UnitVariance(("a",)), "standard deviation"),
        (Pretrained("w.weights.h5", 0.1), "0.1 times the learning rate"),
        (Skip(("c",)), "with a trained scalar"),
    ):
        patch = write(script("list"), [change], "keras")
        assert patch.after == patch.before
        assert words in patch.manual[0]
