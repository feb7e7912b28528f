"""Changes in the structure and the data of a live Keras model, each against the same written by hand."""

import keras
import numpy as np
import pytest
from keras import layers, ops

from evengrad.adapters.keras.change.change import apply
from evengrad.adapters.keras.probe import probe
from evengrad.errors import CannotChangeError
from evengrad.fixing.changes.activation import Activation
from evengrad.fixing.changes.add_normalisation import AddNormalisation
from evengrad.fixing.changes.decay import Decay
from evengrad.fixing.changes.finite import Finite
from evengrad.fixing.changes.finite_targets import FiniteTargets
from evengrad.fixing.changes.initialise import Initialise
from evengrad.fixing.changes.inputs import StandardiseInputs
from evengrad.fixing.changes.loss_scale import LossScale
from evengrad.fixing.changes.pretrained import Pretrained
from evengrad.fixing.changes.skip import Skip
from evengrad.fixing.changes.unit_variance import UnitVariance
from evengrad.fixing.changes.use_optimizer import UseOptimizer
from evengrad.fixing.changes.warmup import Warmup

pytestmark = pytest.mark.keras
LOSS = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
WIDTH = 5


class Subclassed(keras.Model):
    def __init__(self, stack):
        super().__init__()
        self.stack = stack

    def call(self, x):
        for layer in self.stack:
            x = layer(x)
        return x


def make(*stack, kind="sequential", optimizer="sgd", loss=LOSS, seed=0, shape=(WIDTH,)):
    keras.utils.set_random_seed(seed)
    if kind == "sequential":
        model = keras.Sequential([keras.Input(shape), *stack])
    elif kind == "functional":
        start = x = keras.Input(shape)
        for layer in stack:
            x = layer(x)
        model = keras.Model(start, x)
    else:
        model = Subclassed(list(stack))
        model(np.zeros((2, *shape), "float32"))
    model.compile(optimizer=optimizer, loss=loss, run_eagerly=True)
    return model


def rows(seed=0, count=16):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(count, WIDTH)).astype("float32")
    return x, (x[:, 0] > 0).astype("int64") + (x[:, 1] > 0)


def array(tensor):
    return np.array(ops.convert_to_numpy(tensor))


def weights(model):
    return {v.path.rpartition("/")[0].split("/")[-1] + v.name: array(v) for v in model.variables}


def close(found, expected, tolerance=2e-5):
    np.testing.assert_allclose(array(found), expected, rtol=tolerance, atol=tolerance)


def losses(model, x, y, steps=4):
    return [float(np.ravel(model.train_on_batch(x, y))[0]) for _ in range(steps)]


# --- skip -----------------------------------------------------------------------------------------


@keras.saving.register_keras_serializable("tests")
class Residual(keras.layers.Layer):
    """By hand."""

    def __init__(self, branch, **kwargs):
        super().__init__(**kwargs)
        self.branch = branch

    def build(self, shape):
        for layer in self.branch:
            layer.build(shape)
        self.a = self.add_weight(shape=(), initializer="zeros", name="a")

    def call(self, x, training=None):
        found = x
        for layer in self.branch:
            found = layer(found, training=training) if "norm" in layer.name else layer(found)
        return x + self.a * found


def dense(name="hidden", activation=None):
    return layers.Dense(WIDTH, activation, name=name)


def norm():
    return layers.BatchNormalization(name="norm")


def tanh():
    return layers.Activation("tanh")


def head():
    return layers.Dense(3, name="head")


@pytest.mark.once
@pytest.mark.parametrize(
    ("kind", "stack", "branch", "changes"),
    [
        ("sequential", lambda: [dense(activation="tanh")], lambda: [dense()], ()),
        ("functional", lambda: [dense(), norm(), tanh()], lambda: [dense(), norm()], ()),
        ("subclassed", lambda: [dense(), tanh()], lambda: [dense()], ()),
        (
            "subclassed",
            lambda: [dense(activation="relu")],
            lambda: [dense(), norm()],
            (Activation("relu", "tanh"), AddNormalisation("batch", ("hidden",))),
        ),
    ],
)
def test_skip(kind, stack, branch, changes):
    x, y = rows()
    optimizer = keras.optimizers.SGD(0.5)
    model = make(*stack(), head(), kind=kind, optimizer=optimizer)
    hand = make(Residual(branch()), tanh(), head(), optimizer=keras.optimizers.SGD(0.5))
    apply([*changes, Skip(("hidden",))], model, x)
    kernels = [v for v in model.variables if v.name in {"kernel", "bias"}]
    mine = [v for v in hand.variables if v.name in {"kernel", "bias"}]
    for a, b in zip(mine, kernels, strict=True):
        a.assign(array(b))
    found = losses(model, x, y)
    assert found == pytest.approx(losses(hand, x, y), rel=1e-4)
    (scale,) = [v for v in model.trainable_variables if v.name == "scale"]
    assert array(scale) == pytest.approx(array(hand.layers[0].a), rel=1e-3)
    assert array(scale) != 0
    assert probe(model, batch=(x, y)).weights


def test_skip_under_fit_and_after_other_weights():
    x, y = rows()
    model = make(
        dense("a", "relu"), dense("b", "relu"), head(), kind="functional", optimizer="adam"
    )
    model.compile("adam", LOSS)
    changes = [
        Skip(("a", "b")), Initialise(("a", "b"), "relu", 1.4), UseOptimizer("adam", 0.05),
    ]  # fmt: skip
    apply(changes, model, x)
    history = model.fit(x, y, epochs=8, verbose=0).history["loss"]
    assert history[-1] < 0.9 * history[0]
    assert all(array(v) != 0 for v in model.trainable_variables if v.name == "scale")


@pytest.mark.once
def test_skip_needs_one_shape():
    model = make(layers.Dense(7, "relu", name="wide"), head())
    with pytest.raises(CannotChangeError, match=r"'wide' takes .* \(5,\) and gives one of \(7,\)"):
        apply([Skip(("wide",))], model)


# --- inputs and loss ------------------------------------------------------------------------------


@pytest.mark.once
def test_finite_before_normalised():
    x, _ = rows()
    bad = x.copy()
    bad[0], bad[1, 2], bad[2, 0] = np.nan, np.inf, -np.inf
    model = make(dense(activation="tanh"), head(), kind="functional")
    clean = np.where(np.isfinite(bad), bad, 0)
    expected = array(model((clean - 1) / 2))
    apply([Finite(), StandardiseInputs(1.0, 2.0)], model, x)
    close(model(bad), expected)
    close(model.predict(bad, verbose=0), expected)


def test_finite_targets():
    x, _ = rows()
    y = np.ones((len(x), 3), "float32")
    clean = y.copy()
    y[0], y[1, 1], clean[0], clean[1, 1] = np.nan, np.inf, 0.0, 0.0
    model, plain = (make(dense(activation="tanh"), head(), loss="mse") for _ in range(2))
    apply([FiniteTargets()], model, x)
    assert losses(model, x, y) == pytest.approx(losses(plain, x, clean), rel=1e-5)


def test_loss_scale():
    x, y = rows()
    model, plain = (make(dense(activation="tanh"), head(), optimizer="adam") for _ in range(2))
    apply([LossScale(4096.0)], model)
    assert isinstance(model.optimizer, keras.optimizers.LossScaleOptimizer)
    assert losses(model, x, y) == pytest.approx(losses(plain, x, y), rel=1e-4)
    assert array(model.optimizer.dynamic_scale) == 4096
    with pytest.raises(CannotChangeError, match="scales the loss already"):
        apply([LossScale(2.0)], model)


def test_decay_begins_behind_a_warm_up():
    model = make(head(), optimizer=keras.optimizers.SGD(0.1))
    apply([Warmup(4), Decay(12)], model)
    cosine = keras.optimizers.schedules.CosineDecay(0.025, 9, warmup_target=0.1, warmup_steps=3)
    for step in range(14):
        model.optimizer.iterations.assign(step)
        found = float(array(model.optimizer.learning_rate))
        assert found == pytest.approx(float(array(cosine(step))), rel=1e-4, abs=1e-7)


# --- weights --------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["functional", "subclassed"])
def test_unit_variance(kind):
    x, _ = rows(count=64)
    x = 7 * x + 2
    stack = [layers.Dense(9, "relu", name="a", bias_initializer="ones"), norm(), dense("b", "tanh")]
    model = make(*stack, head(), kind=kind)
    kept = array(stack[1].moving_mean), array(stack[0].kernel)
    apply([UnitVariance(("a", "b"))], model, x)
    kernels = [array(one.kernel) for one in (stack[0], stack[2])]
    z = x @ kernels[0]
    assert z.std() == pytest.approx(1, abs=0.011)
    z = np.maximum(z, 0)
    z = (z - z.mean(0)) / np.sqrt(z.var(0) + 1e-3) @ kernels[1]
    assert z.std() == pytest.approx(1, abs=0.011)
    assert not array(stack[0].bias).any()
    close(kernels[0] @ kernels[0].T / (kernels[0][0] ** 2).sum(), np.eye(WIDTH), 1e-4)
    np.testing.assert_array_equal(array(stack[1].moving_mean), kept[0])
    assert not np.array_equal(kernels[0], kept[1])
    assert "call" not in stack[0].__dict__
    with pytest.raises(CannotChangeError, match="'a' has no variance"):
        apply([UnitVariance(("a",))], model, 0 * x)


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """A trained model's weights in each kind of file, and the model."""
    from safetensors.numpy import save_file

    folder, x_y = tmp_path_factory.mktemp("saved"), rows(3)
    model = make(dense("a", "tanh"), dense("b", "tanh"), layers.Dense(7, name="other"), seed=9)
    model.train_on_batch(*x_y)
    model.save_weights(folder / "w.weights.h5")
    model.save(folder / "w.keras")
    save_file({v.path.replace("/", "."): array(v) for v in model.weights}, folder / "w.safetensors")
    return folder, model


@pytest.mark.once
@pytest.mark.parametrize("name", ["w.weights.h5", "w.keras", "w.safetensors"])
def test_pretrained_and_frozen(saved, name):
    folder, source = saved
    model, (x, y), notes = make(dense("a", "tanh"), dense("b", "tanh"), head()), rows(), []
    apply([Pretrained(str(folder / name), 0.0)], model, x, notes.append)
    assert notes[0].startswith("4 of 6 tensors matched: a/kernel, a/bias, b/kernel, b/bias; not m")
    assert [v.path.split("/")[-2] for v in model.trainable_variables] == ["head", "head"]
    first = losses(model, x, y)
    assert first[-1] < first[0]
    for mine, theirs in zip(model.layers[:2], source.layers, strict=False):
        np.testing.assert_array_equal(array(mine.kernel), array(theirs.kernel))


@pytest.mark.parametrize(
    "make_optimizer",
    [
        lambda: keras.optimizers.SGD(0.5, momentum=0.9),
        lambda: keras.optimizers.AdamW(0.05, weight_decay=0.1, global_clipnorm=1.0),
    ],
)
def test_pretrained_at_a_part_of_the_rate(saved, make_optimizer):
    (folder, _), (x, y) = saved, rows()
    changes = [Pretrained(str(folder / "w.weights.h5"), f) for f in (1.0, 0.1)]
    models = []
    for change in changes:
        keras.utils.set_random_seed(
            0
        )  # which the layers' own initialisers draw from when they are made
        model = make(dense("a", "tanh"), dense("b", "tanh"), head(), optimizer=make_optimizer())
        model.run_eagerly = False
        apply([change], model, x)
        models.append((model, weights(model)))
        model.fit(x, y, shuffle=False, verbose=0)
    moves = [{k: v - before[k] for k, v in weights(m).items()} for m, before in models]
    for name, move in moves[0].items():
        factor = 1.0 if name.startswith("head") else 0.1
        np.testing.assert_allclose(moves[1][name], factor * move, rtol=1e-3, atol=2e-7)


@pytest.mark.once
def test_files_that_do_not_fit(saved, tmp_path):
    folder, source = saved
    other = make(layers.Dense(4, name="c"), head())
    with pytest.raises(
        CannotChangeError, match=r"No tensor of .* this model's, which has c/kernel"
    ):
        apply([Pretrained(str(folder / "w.safetensors"), 0.0)], other)
    with pytest.raises(CannotChangeError, match="frozen, none would be left"):
        apply([Pretrained(str(folder / "w.weights.h5"), 0.0)], source)
    with pytest.raises(CannotChangeError, match=r"expected \.weights\.h5"):
        apply([Pretrained("weights.pkl", 0.0)], other)
    for name in ("x.weights.h5", "x.keras", "x.safetensors"):
        (tmp_path / name).write_bytes(b"nothing of the kind")
        with pytest.raises(CannotChangeError, match="cannot be read as weights"):
            apply([Pretrained(str(tmp_path / name), 0.0)], other)
