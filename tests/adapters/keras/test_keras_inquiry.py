"""Where a NaN was born in a Keras script: the operation, the user's line and expression, what it was given."""

import linecache
import runpy
import textwrap

import keras
import pytest

from evengrad.adapters.keras import inquiry

pytestmark = pytest.mark.keras
BACKEND = keras.backend.backend()
HEAD = """\
import keras, numpy as np
from keras import layers, ops
if keras.backend.backend() == "tensorflow":
    import tensorflow as tf
keras.utils.set_random_seed(0)
rng = np.random.default_rng(0)
x = rng.normal(size=(64, 8)).astype("float32")
y = (x[:, :1] > 0).astype("float32")
def net(activation=None):
    return keras.Sequential([
        keras.Input((8,)), layers.Dense(16, activation="relu"), layers.Dense(1, activation=activation)
    ])
"""


class FoundError(BaseException):
    """Ends the script."""


class Asking:
    """An inquiry's session."""

    def __init__(self, step):
        self.step = step
        self.fact = None

    def born(self, fact):
        self.fact = self.fact or fact
        raise FoundError

    def trouble(self, error):
        raise error


@pytest.fixture
def born(tmp_path, monkeypatch):
    def run(source, step=0):
        monkeypatch.chdir(tmp_path)
        (tmp_path / "train.py").write_text(HEAD + textwrap.dedent(source))
        linecache.clearcache()
        session = Asking(step)
        armed = inquiry.arm(session)
        try:
            runpy.run_path("train.py", run_name="__main__")
        except FoundError:
            pass
        finally:
            armed.disarm()
        return session.fact

    return run


needs_tensorflow = pytest.mark.skipif(BACKEND != "tensorflow", reason="TensorFlow's own words")
followed = pytest.mark.skipif(BACKEND == "torch", reason="the torch adapter looks there")


@followed
@pytest.mark.parametrize("jit", [False, True])
def test_a_logarithm_that_a_where_hides(born, jit):
    fact = born(f"""\
        def loss(y_true, y_pred):
            p = y_pred * ops.cast(y_pred > 0, "float32")
            return ops.mean(ops.square(ops.where(p > 0, ops.log(p), 0.0) - y_true))
        model = net()
        model.compile("adam", loss=loss, jit_compile={jit})
        model.fit(x, y, verbose=0)
        """)
    values = fact.values
    assert (fact.where.line, fact.where.code) == (15, "ops.log(p)")
    assert (values["operation"], values["call"], values["operand"]) == ("log", "ops.log", "p")
    assert (values["direction"], values["hidden"]) == ("backward", True)
    assert values["low"] == 0.0
    assert 0 < values["share"] < 1


@followed
def test_a_division_at_a_later_step(born):
    fact = born(
        """\
        def masked(y_true, y_pred):
            mask = ops.cast(y_true >= 0, "float32")
            return ops.sum(mask * ops.square(y_true - y_pred)) / ops.sum(mask)
        y[32:48] = -1
        model = net()
        model.compile("adam", loss=masked)
        model.fit(x, y, batch_size=16, shuffle=False, verbose=0)
        """,
        step=2,
    )
    values = fact.values
    assert (fact.step, values["operation"], values["operand"]) == (2, "divide", "ops.sum(mask)")
    assert (values["direction"], values["zeros"]) == ("forward", 1.0)


@followed
def test_a_hole_in_the_data(born):
    fact = born("""\
        x[3, 2] = np.nan
        model = net("sigmoid")
        model.compile("adam", loss="binary_crossentropy")
        model.fit(x, y, batch_size=16, shuffle=False, verbose=0)
        """)
    assert fact.where.line == 16
    assert (fact.values["direction"], fact.values["role"]) == ("given", "batch")
    assert fact.values["name"] == "x"


@followed
def test_an_overflow_in_a_loss_by_name(born):
    fact = born("""\
        model = net()
        model.compile("sgd", loss="mse")
        model.fit(x * 1e20, y, verbose=0)
        """)
    values = fact.values
    assert (values["name"], values["role"]) == ("mean_squared_error", "output")
    assert values["overflow"]


@needs_tensorflow
def test_a_norm_at_0_in_a_loop_of_its_own(born):
    fact = born("""\
        model, optimizer = net(), keras.optimizers.Adam()
        @tf.function
        def step(batch):
            with tf.GradientTape() as tape:
                out = model(batch)
                loss = tf.reduce_mean(tf.norm(out[:, None] - out[None], axis=-1))
            gradients = tape.gradient(loss, model.trainable_variables)
            optimizer.apply_gradients(zip(gradients, model.trainable_variables))
        for _ in range(3):
            step(tf.constant(x))
        """)
    assert fact.where.line == 18
    assert (fact.values["operation"], fact.values["call"]) == ("norm", "tf.norm")
    assert fact.values["direction"] == "backward"


@followed
def test_infinities_of_a_mask_are_no_mistake(born):
    fact = born("""\
        class Attention(layers.Layer):
            def call(self, inputs):
                scores = ops.where(inputs > 0, inputs, -np.inf)
                return ops.softmax(scores, axis=-1)
        x[:, 0] = 1
        model = keras.Sequential([
            keras.Input((8,)), layers.Dense(8, kernel_initializer="identity"), Attention(), layers.Dense(1)
        ])
        model.compile(keras.optimizers.SGD(1e-6), loss="mse")
        model.fit(x, y, verbose=0)
        """)
    assert fact is None


@followed
def test_a_row_that_is_masked_throughout(born):
    fact = born("""\
        class Attention(layers.Layer):
            def call(self, inputs):
                scores = ops.where(inputs > 0, inputs, -np.inf)
                return ops.softmax(scores, axis=-1)
        x[5] = -1
        model = keras.Sequential([
            keras.Input((8,)), layers.Dense(8, kernel_initializer="identity"), Attention(), layers.Dense(1)
        ])
        model.compile("sgd", loss="mse")
        model.fit(x, y, verbose=0)
        """)
    values = fact.values
    assert (values["operation"], values["role"], values["operand"]) == (
        "softmax",
        "constant",
        "scores",
    )


@followed
def test_a_root_at_0_in_a_contrastive_loss(born):
    fact = born("""\
        def distance(y_true, y_pred):
            apart = ops.sum(ops.square(y_pred - ops.roll(y_pred, 0, axis=0)), axis=-1)
            return ops.mean(y_true[:, 0] * ops.sqrt(apart))
        model = net()
        model.compile("adam", loss=distance)
        model.fit(x, y, verbose=0)
        """)
    values = fact.values
    assert (fact.where.line, fact.where.code) == (15, "ops.sqrt(apart)")
    assert (values["operation"], values["call"], values["operand"]) == ("sqrt", "ops.sqrt", "apart")
    assert (values["direction"], values["high"]) == ("backward", 0.0)
