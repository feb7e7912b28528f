"""The Keras probe against formulas written out here and against Keras' own training step."""

import keras
import keras_models
import numpy as np
import pytest
from keras import layers

from evengrad.adapters.keras.probe import probe
from evengrad.diagnosis.budget import budget
from evengrad.errors import CannotCheckError
from evengrad.values.spec import Kind

pytestmark = pytest.mark.keras
SEEDS = [5] if keras.backend.backend() == "jax" else [5, 6]  # compiling takes its time there


def by_name(found):
    return {op.name: op for op in found.operations}


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("name", keras_models.MODELS)
def test_weight_gradients_are_those_that_training_uses(name, seed):
    """One SGD step of rate 1 by Keras itself moves the weights by what the probe said."""
    model, (x, y) = keras_models.make(name, seed)
    random = any(isinstance(layer, layers.Dropout) for layer in model._flatten_layers())
    if random:
        for layer in model._flatten_layers():
            if isinstance(layer, layers.Dropout):
                layer.rate = 0.0
    model.compile(optimizer=keras.optimizers.SGD(1.0), loss=model.loss)
    found = probe(model, batch=(x, y))
    before = [keras.ops.convert_to_numpy(v).astype(float) for v in model.trainable_variables]
    model.train_on_batch(x, y)
    after = [keras.ops.convert_to_numpy(v).astype(float) for v in model.trainable_variables]
    moved = [np.sqrt(np.mean((b - a) ** 2)) for a, b in zip(after, before, strict=True)]
    assert [w.gradient.rms for w in found.weights] == pytest.approx(moved, rel=2e-3, abs=3e-7)
    assert [w.update for w in found.weights] == pytest.approx(moved, rel=2e-3, abs=3e-7)
    assert found.notes == ()


@pytest.mark.parametrize("name", keras_models.MODELS)
def test_the_graph_holds_together(name):
    """Each tensor is made once, before it is read, and the blocks' growth is the inputs' growth."""
    model, batch = keras_models.make(name, 7)
    found = probe(model, batch=batch)
    made = {i.port.tensor for i in found.inputs if i.port is not None}
    for op in found.operations:
        assert {p.tensor for p in op.inputs} <= made, op.name
        assert not {p.tensor for p in op.outputs} & made, op.name
        made |= {p.tensor for p in op.outputs}
    assert len({op.name for op in found.operations}) == len(found.operations)
    total = budget(found).total
    assert np.isfinite(total)
    named = {w for op in found.operations for w in op.weights}
    assert named == {w.name for w in found.weights}


def test_article_model_opens_into_its_layers():
    model, batch = keras_models.make("article", 1)
    found = probe(model, batch=batch)
    assert [(op.layer, op.kind) for op in found.operations if op.weights] == [
        (name, Kind.WEIGHTS) for name in ("conv1", "conv2", "dense1", "dense2")
    ]
    assert [op.type for op in found.operations if op.kind is Kind.ACTIVATION] == ["relu"] * 3 + [
        "softmax"
    ]
    assert found.loss.head == "softmax"
    assert found.loss.reads == "logits"
    assert found.loss.undone == (keras.backend.backend() == "tensorflow")
    assert found.operations[0].source.startswith("keras_models.py:")


def dense_reference(weights, x, y):
    """Norms of dL/dy at each operation of dense-relu-dense-relu-dense, by hand in float64."""
    acts, zs = [x.astype(float)], []
    for kernel, bias in weights:
        zs.append(acts[-1] @ kernel + bias)
        acts.append(np.maximum(zs[-1], 0))
    logits = zs[-1]
    p = np.exp(logits - logits.max(1, keepdims=True))
    p /= p.sum(1, keepdims=True)
    delta = (p - np.eye(p.shape[1])[y]) / len(y)
    norms = [np.linalg.norm(delta)]
    for (kernel, _), z in zip(weights[:0:-1], zs[-2::-1], strict=True):
        delta = delta @ kernel.T
        norms.append(np.linalg.norm(delta))
        delta = delta * (z > 0)
        norms.append(np.linalg.norm(delta))
    norms.append(np.linalg.norm(delta @ weights[0][0].T))
    return norms[::-1]


@pytest.mark.parametrize("head", [None, "softmax"])
@pytest.mark.parametrize("seed", SEEDS)
def test_dense_chain_by_hand(seed, head):
    keras.utils.set_random_seed(seed)
    model = keras.Sequential(
        [keras.Input((6,)), *(layers.Dense(7, activation="relu") for _ in range(2))]
    )
    model.add(layers.Dense(3, activation=head))
    rng = np.random.default_rng(seed)
    x, y = keras_models.rows(rng)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=head is None)
    found = probe(model, loss=loss, batch=(x, y))
    flat = [w.astype(float) for w in model.get_weights()]
    norms = dense_reference(list(zip(flat[::2], flat[1::2], strict=True)), x, y)
    chain = [op for op in found.operations if op.name in budget(found).terms]
    assert [found.inputs[0].port.norm, *(op.outputs[0].norm for op in chain)] == pytest.approx(
        norms, rel=1e-4
    )
    assert budget(found).total == pytest.approx(np.log(norms[0] / norms[-1]), abs=1e-4)
    assert [op.log_gain for op in chain] == pytest.approx(np.diff(-np.log(norms)), abs=1e-4)


def test_residual_ports_hold_the_gradient_of_each_path():
    """Y = x + relu(x W): the sum's own reads get dL/dy, the weights' read W relu'(z) dL/dy."""
    rng = np.random.default_rng(3)
    inputs = keras.Input((6,))
    y = layers.Add(name="sum")([inputs, layers.Dense(6, activation="relu", name="w")(inputs)])
    model = keras.Model(inputs, y)
    x, t = rng.normal(size=(8, 6)).astype("float32"), rng.normal(size=(8, 6)).astype("float32")
    found = by_name(probe(model, loss="mse", batch=(x, t)))
    kernel, bias = (w.astype(float) for w in model.get_weights())
    z = x @ kernel + bias
    above = 2 * (x + np.maximum(z, 0) - t) / x.size
    skip, through = found["sum"].inputs
    assert skip.tensor == found["w"].inputs[0].tensor
    assert (skip.norm, through.norm) == pytest.approx((np.linalg.norm(above),) * 2, rel=1e-4)
    below = (above * (z > 0)) @ kernel.T
    assert found["w"].inputs[0].norm == pytest.approx(np.linalg.norm(below), rel=1e-4)


def test_shared_layer_is_two_operations():
    model, batch = keras_models.make("nested", 2)
    found = probe(model, batch=batch)
    names = [op.name for op in found.operations if op.type == "Dense"]
    assert len(names) == len(set(names)) == 5
    shared = [op for op in found.operations if op.layer.startswith("inner/") and op.weights]
    assert shared[0].weights == shared[2].weights


def test_penalty_is_kept_apart():
    """PEERS trap 9: the data's gradient is exact where the penalty's is 1e16 times as large."""
    rng = np.random.default_rng(9)
    x, y = rng.normal(size=(16, 6)).astype("float32"), rng.normal(size=(16, 1)).astype("float32")
    model = keras.Sequential(
        [keras.Input((6,)), layers.Dense(1, kernel_regularizer=keras.regularizers.L2(1.0))]
    )
    model.layers[0].set_weights([rng.normal(size=(6, 1)), np.zeros(1)])

    def tiny(t, p):
        return keras.ops.mean((t - p) ** 2) * 1e-16

    found = probe(model, loss=tiny, batch=(x, y))
    kernel = model.get_weights()[0].astype(float)
    expected = 2e-16 * x.T.astype(float) @ (x @ kernel - y) / len(x)
    weight = found.weight("dense/kernel") if len(found.weights) == 1 else found.weights[0]
    assert weight.gradient.rms == pytest.approx(np.sqrt(np.mean(expected**2)), rel=1e-4)
    assert weight.penalty == pytest.approx(2 * np.sqrt(np.mean(kernel**2)), rel=1e-5)
    assert found.loss.penalty == pytest.approx(np.sum(kernel**2), rel=1e-5)
    assert found.loss.value < 1e-13


@pytest.mark.parametrize("size", [1e19, 1e-24])
def test_extreme_gradients_keep_their_size(size):
    """PEERS trap 2."""
    rng = np.random.default_rng(4)
    x, y = rng.normal(size=(16, 6)).astype("float32"), rng.normal(size=(16, 1)).astype("float32")
    model = keras.Sequential([keras.Input((6,)), layers.Dense(1)])

    def scaled(t, p):
        return keras.ops.mean(p * t) * size

    found = probe(model, loss=scaled, batch=(x, y))
    expected = size * np.linalg.norm(x.T.astype(float) @ y / len(x))
    assert found.weights[0].gradient.norm == pytest.approx(expected, rel=1e-4)


def test_nan_is_data():
    model, (x, y) = keras_models.make("convolutions", 1)
    x[0] = np.nan
    found = probe(model, batch=(x, y))
    assert found.inputs[0].value.non_finite == pytest.approx(1 / 8)
    assert found.operations[0].forward.non_finite > 0
    assert np.isnan(found.outputs[0].norm)


def test_labels_out_of_range_are_measured_and_shown():
    model, (x, y) = keras_models.make("branches", 1)
    found = probe(model, batch=(x, y + 2))
    assert found.loss.targets.max == (y + 2).max() >= found.loss.classes
    assert np.isfinite(found.loss.value)


def test_sample_weights_count():
    model, (x, y) = keras_models.make("branches", 1)
    whole = probe(model, batch=(x, y, np.ones(8, "float32")))
    doubled = probe(model, batch=(x, y, np.full(8, 2.0, "float32")))
    assert doubled.outputs[0].norm == pytest.approx(2 * whole.outputs[0].norm, rel=1e-5)


@pytest.mark.parametrize(
    ("layer", "shape", "expected"),
    [
        (layers.Conv2D(5, 3), (9, 9, 4), 36),
        (layers.Conv2D(6, 3, groups=2), (9, 9, 4), 18),
        (layers.DepthwiseConv2D(3), (9, 9, 4), 9),
        (layers.Conv2DTranspose(5, 4, strides=2), (9, 9, 4), 16),
        (layers.Conv1DTranspose(5, 4, strides=2), (9, 4), 8),
        (layers.EinsumDense("abc,cde->abde", output_shape=(9, 2, 3)), (9, 4), 4),
    ],
)
def test_fan_in(layer, shape, expected):
    model = keras.Sequential([keras.Input(shape), layer, layers.Flatten(), layers.Dense(1)])
    rng = np.random.default_rng(0)
    x = rng.normal(size=(3, *shape)).astype("float32")
    found = probe(model, loss="mse", batch=(x, np.zeros((3, 1), "float32")))
    assert found.weights[0].fan_in == expected


def test_health_of_activations():
    x = np.array([[-5.0, 0.1, 9.0], [-1.0, 0.2, 0.0]], "float32")
    model = keras.Sequential([keras.Input((3,)), layers.Dense(3, activation="relu", name="d")])
    model.layers[0].set_weights([np.eye(3), np.zeros(3)])
    found = by_name(probe(model, loss="mse", batch=(x, x)))
    assert found["d.relu"].health.dead == pytest.approx(1 / 3)
    model.layers[0].activation = keras.activations.tanh
    found = by_name(probe(model, loss="mse", batch=(x, x)))
    assert found["d.tanh"].health.saturated == pytest.approx(2 / 6)


def test_mixed_precision_is_measured():
    keras.utils.set_random_seed(1)
    policy = keras.mixed_precision.DTypePolicy("mixed_float16")
    stack = [layers.Dense(6, activation="relu", dtype=policy) for _ in range(2)]
    model = keras.Sequential([keras.Input((6,)), *stack, layers.Dense(3, dtype="float32")])
    plain = keras.Sequential(
        [keras.Input((6,)), *(layers.Dense(6, activation="relu") for _ in stack)]
    )
    plain.add(layers.Dense(3))
    plain.set_weights(model.get_weights())
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    batch = keras_models.rows(np.random.default_rng(2))
    optimizer = keras.optimizers.LossScaleOptimizer(keras.optimizers.SGD(0.1))
    found = probe(model, loss=loss, batch=batch, optimizer=optimizer)
    expected = probe(plain, loss=loss, batch=batch, optimizer=keras.optimizers.SGD(0.1))
    assert found.weights[0].gradient.rms == pytest.approx(
        expected.weights[0].gradient.rms, rel=2e-2
    )
    assert found.weights[0].update == pytest.approx(expected.weights[0].update, rel=2e-2)
    assert found.optimizer.name == "SGD"


class NativeModel(keras.Model):
    """Calls the backend's own functions, as many scripts do."""

    def __init__(self):
        super().__init__()
        self.conv, self.dense, self.head = layers.Conv2D(4, 3), layers.Dense(5), layers.Dense(3)

    def call(self, x):
        if keras.backend.backend() == "tensorflow":
            import tensorflow as tf

            x = tf.nn.relu(self.conv(x))
            x = tf.reshape(tf.reduce_mean(x, axis=[1, 2]), [-1, 4])
            x = tf.concat([self.dense(x), x], axis=-1)
            return tf.nn.softmax(self.head(tf.nn.tanh(x) * 2.0))
        import torch

        x = torch.nn.functional.relu(self.conv(x))
        x = torch.flatten(torch.mean(x, dim=(1, 2)), 1)
        x = torch.cat([self.dense(x), x], dim=-1)
        return torch.softmax(self.head(torch.tanh(x) * 2.0), dim=-1)


@pytest.mark.skipif(keras.backend.backend() == "jax", reason="JAX functions cannot be hooked")
def test_the_backends_own_functions_are_seen():
    keras.utils.set_random_seed(3)
    model = NativeModel()
    model.compile(optimizer=keras.optimizers.SGD(1.0), loss="sparse_categorical_crossentropy")
    x, y = keras_models.images(np.random.default_rng(2))
    found = probe(model, batch=(x, y))
    kinds = [op.kind for op in found.operations if op.kind is not Kind.RESHAPE]
    assert kinds == [
        Kind.WEIGHTS,
        Kind.ACTIVATION,
        Kind.POOLING,
        Kind.WEIGHTS,
        Kind.MERGE,
        Kind.ACTIVATION,
        Kind.OTHER,
        Kind.WEIGHTS,
        Kind.ACTIVATION,
    ]
    assert found.notes == ()
    assert found.loss.head == "softmax"
    before = model.get_weights()
    model.train_on_batch(x, y)
    moved = [
        np.sqrt(np.mean((a - b) ** 2)) for a, b in zip(model.get_weights(), before, strict=True)
    ]
    assert [w.gradient.rms for w in found.weights] == pytest.approx(moved, rel=2e-3, abs=3e-7)


class Opaque(layers.Layer):
    """Reads its own weight directly and hides a layer from the tracer."""

    def __init__(self):
        super().__init__()
        self.inner = layers.Dense(4)

    def build(self, shape):
        self.scale = self.add_weight(shape=(4,), initializer="ones", name="scale")

    def call(self, x):
        return self.inner(x) * keras.ops.exp(self.scale)[None]


def test_a_block_that_cannot_be_opened_is_one_operation():
    model = keras.Sequential([keras.Input((6,)), Opaque(), layers.Dense(3)])
    x, y = keras_models.rows(np.random.default_rng(2))
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    found = probe(model, loss=loss, batch=(x, y))
    assert [op.kind for op in found.operations] == [Kind.OTHER, Kind.WEIGHTS]
    assert len(found.notes) == 1
    assert all(w.gradient is not None and w.gradient.rms > 0 for w in found.weights)


def two_outputs():
    inputs = keras.Input((6,))
    outputs = {"a": layers.Dense(3, name="a")(inputs), "b": layers.Dense(1, name="b")(inputs)}
    model = keras.Model(inputs, outputs)
    loss = {"a": keras.losses.SparseCategoricalCrossentropy(from_logits=True), "b": "mse"}
    model.compile(optimizer="sgd", loss=loss)
    return model


def test_several_outputs():
    model = two_outputs()
    x, y = keras_models.rows(np.random.default_rng(2))
    found = probe(model, batch=(x, {"a": y, "b": np.zeros((8, 1), "float32")}))
    assert len(found.outputs) == 2
    assert found.loss.family == "other"
    assert " + " in found.loss.name
    assert not model._compile_loss.built


def small(**compiled):
    model = keras.Sequential([keras.Input((6,)), layers.Dense(3)])
    if compiled:
        model.compile(**compiled)
    return model


ROWS = keras_models.rows(np.random.default_rng(1))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"model": small(), "batch": ROWS}, "compile"),
        ({"model": small(optimizer="sgd"), "batch": ROWS}, "loss"),
        ({"model": small(), "loss": "mse", "batch": (ROWS[0][:0], ROWS[1][:0])}, "empty"),
        ({"model": small(), "loss": "nonsense", "batch": ROWS}, "nonsense"),
        ({"model": layers.Dense(3), "loss": "mse", "batch": ROWS}, "keras.Model"),
        (
            {
                "model": small(),
                "loss": keras.losses.SparseCategoricalCrossentropy(True, reduction=None),
                "batch": ROWS,
            },
            "scalar",
        ),
        (
            {
                "model": keras.Sequential([keras.Input((6,)), layers.ReLU()]),
                "loss": "mse",
                "batch": (ROWS[0], ROWS[0]),
            },
            "trainable",
        ),
    ],
)
def test_refusals_say_what_to_do(arguments, message):
    with pytest.raises(CannotCheckError, match=message):
        probe(**arguments)


def test_activity_regularisers_are_named_in_a_note():
    layer = keras.layers.Dense(4, activity_regularizer="l2", name="regular")
    model = keras.Sequential([layer, keras.layers.Dense(3)])
    x, y = np.random.default_rng(0).normal(size=(5, 6)), np.arange(5) % 3
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    measured = probe(model, loss=loss, batch=(x, y))
    assert any("regular" in note and "activity" in note for note in measured.notes)
