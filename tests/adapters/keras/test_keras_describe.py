"""Keras models as specs: the probe's names, Keras' own figures, its initialisers' moments."""

import keras
import numpy as np
import pytest
from keras import layers, ops
from keras_models import MODELS, make

from evengrad.adapters.keras.describe import abstract, describe
from evengrad.adapters.keras.probe import probe
from evengrad.adapters.keras.spec.laws import initial_law, law_of
from evengrad.adapters.keras.spec.specify import simple
from evengrad.errors import CannotCheckError
from evengrad.values.spec import (
    Attention,
    Combine,
    Composite,
    Concatenate,
    Convolution,
    Dense,
    Dropout,
    Einsum,
    Embedding,
    Normalise,
    Opaque,
    Pointwise,
    Pool,
    Reduce,
    Reshape,
    Select,
    Slice,
    Softmax,
    Transpose,
)

pytestmark = [pytest.mark.keras, pytest.mark.once]


def described(layer, *shapes, dtype=None):
    """Spec of a model of one call, its weights without values: that needs no compiling."""

    def factory():
        inputs = [keras.Input(shape, dtype=dtype) for shape in shapes]
        return keras.Model(inputs, layer(*inputs))

    spec = describe(abstract(factory), batch_size=4)
    expect_sound(spec)
    return spec


def only(layer, *shapes):
    """The op of a model of one layer."""
    spec = described(layer, *shapes)
    assert len(spec.nodes) == 1
    return spec.nodes[0].op


def kinds(spec):
    return [type(node.op) for node in simple(spec.nodes)]


# --- the same steps as a probe --------------------------------------------------------------------


COMPILED = {"convolutions", "normalised", "sequence"}  # seconds each where JAX compiles them


@pytest.mark.parametrize(
    "name", sorted(set(MODELS) - (COMPILED if keras.backend.backend() == "jax" else set()))
)
def test_steps_are_those_of_the_probe(name):
    model, (x, y) = make(name, 3)
    measured = probe(model, batch=(x, y))
    many = isinstance(x, dict)
    given = (
        {k: (v.shape, str(v.dtype)) for k, v in x.items()} if many else ((x.shape, str(x.dtype)),)
    )
    spec = describe(model, given)

    def told(nodes):
        return [(n.name, n.layer, n.kind, n.type, n.weights, n.source) for n in nodes]

    steps = told(measured.operations)
    assert told(spec.nodes) == steps[: len(spec.nodes)]
    assert {op.kind for op in measured.operations[len(spec.nodes) :]} <= {"loss"}
    assert told(measured.spec.nodes) == told(spec.nodes)
    assert [(w.name, w.shape, w.fan_in) for w in spec.weights] == [
        (w.name, w.value.shape, w.fan_in) for w in measured.weights
    ]
    for w, m in zip(measured.spec.weights, measured.weights, strict=True):
        np.testing.assert_allclose([w.law.mean, w.law.rms], [m.value.mean, m.value.rms])
    own = [(m.model, m.versions, m.backend) for m in (spec, measured)]
    assert own[0] == own[1]
    expect_sound(measured.spec)
    by_name = {op.name: op for op in measured.operations}
    for node in measured.spec.nodes:
        assert spec.tensors[node.outputs[0]] == by_name[node.name].forward.shape


def expect_sound(spec):
    """Every tensor is made once, before it is read, and none is left over."""
    made = {i.tensor for i in spec.inputs} | set(spec.constants)
    for node in simple(spec.nodes):
        assert set(node.inputs) <= made
        assert not set(node.outputs) & made
        made |= set(node.outputs)
    assert made == set(range(len(spec.tensors)))
    assert set(spec.outputs) <= made


def test_probing_still_works_where_a_spec_cannot_be_made(monkeypatch):
    def broken(*_):
        raise RuntimeError("no way")

    monkeypatch.setattr("evengrad.adapters.keras.probe.specify", broken)
    model, batch = make("branches", 0)
    found = probe(model, batch=batch)
    assert found.spec is None
    assert any("no way" in note for note in found.notes)


def test_the_end_is_before_a_closing_softmax_fused_or_not():
    for end in (
        [layers.Dense(3, activation="softmax")],
        [layers.Dense(3), layers.Softmax()],
        [layers.Dense(3), layers.Activation("log_softmax")],
    ):
        spec = describe(keras.Sequential([keras.Input((5,)), *end]), batch_size=2)
        assert [type(n.op) for n in spec.nodes] == [Dense, Softmax]
        assert spec.outputs == spec.nodes[0].outputs


def test_the_model_is_as_it_was():
    model, _ = make("attention", 0)
    before = [w.copy() for w in model.get_weights()]
    links = [(len(v._inbound_nodes), len(v._outbound_nodes)) for v in model._flatten_layers()]
    name = layers.Dense(1).name
    describe(model, batch_size=3)
    number = int(layers.Dense(1).name.rsplit("_", 1)[-1])
    assert number == int(name.rsplit("_", 1)[-1]) + 1
    assert links == [
        (len(v._inbound_nodes), len(v._outbound_nodes)) for v in model._flatten_layers()
    ]
    for old, new in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)


# --- geometry, against what Keras computes --------------------------------------------------------


@pytest.mark.parametrize("size", [7, 8])
@pytest.mark.parametrize("stride", [1, 2, 3])
@pytest.mark.parametrize(("kernel", "dilation"), [(2, 1), (3, 1), (4, 1), (3, 2)])
def test_same_padding_is_keras_own(size, stride, kernel, dilation):
    if stride > 1 and dilation > 1:
        pytest.skip("Keras has no strided dilated convolution")
    options = (3, kernel, stride, "same", None, dilation)
    op, layer = only(layers.Conv1D(*options), (size, 2)), layers.Conv1D(*options)
    x = np.random.default_rng(size).normal(size=(1, size, 2)).astype("float32")
    plain = np.pad(x, ((0, 0), op.padding[0], (0, 0)))
    found = ops.convert_to_numpy(layer(x))
    wanted = ops.conv(plain, layer.kernel, stride, "valid", dilation_rate=dilation)
    np.testing.assert_allclose(found, ops.convert_to_numpy(wanted), atol=1e-5)


@pytest.mark.parametrize("stride", [1, 2, 3])
@pytest.mark.parametrize("kernel", [2, 3, 4])
def test_transposed_same_is_a_cropped_valid_one(stride, kernel):
    options = (3, kernel, stride, "same")
    op, layer = only(layers.Conv1DTranspose(*options), (5, 2)), layers.Conv1DTranspose(*options)
    layer.build((1, 5, 2))
    assert op.transposed
    before, after = op.padding[0]
    x = np.random.default_rng(kernel).normal(size=(1, 5, 2)).astype("float32")
    taps = np.asarray(ops.convert_to_numpy(layer.kernel))  # (kernel, out, in)
    full = np.zeros((1, (5 - 1) * stride + kernel, 3))
    for i in range(5):
        full[0, i * stride : i * stride + kernel] += np.einsum("koc,c->ko", taps, x[0, i])
    wanted = np.pad(full, ((0, 0), (0, max(-after, 0)), (0, 0)))
    wanted = wanted[:, before : wanted.shape[1] - max(after, 0)]
    np.testing.assert_allclose(ops.convert_to_numpy(layer(x)), wanted, atol=1e-5)


@pytest.mark.parametrize("stride", [1, 2, 3])
def test_pooling_pads_as_keras_does(stride):
    layer = layers.MaxPooling1D(3, stride, "same")
    op = only(layer, (8, 2))
    x = np.random.default_rng(stride).normal(size=(1, 8, 2)).astype("float32")
    wide = np.pad(x, ((0, 0), op.padding[0], (0, 0)), constant_values=-np.inf)
    count = (wide.shape[1] - 3) // stride + 1
    wanted = np.stack([wide[:, i * stride : i * stride + 3].max(1) for i in range(count)], 1)
    np.testing.assert_allclose(ops.convert_to_numpy(layer(x)), wanted)
    assert (op.reduction, op.kernel, op.stride, op.count_padding) == ("max", (3,), (stride,), False)


def test_convolutions_in_all_their_forms():
    first = only(layers.Conv2D(8, 3, data_format="channels_last", padding="same"), (9, 8, 4))
    assert (first.channels, first.spatial, first.groups) == (3, (1, 2), 1)
    causal = only(layers.Conv1D(8, 3, padding="causal", dilation_rate=2), (9, 4))
    assert (causal.padding, causal.dilation) == (((4, 0),), (2,))
    deep = only(layers.DepthwiseConv2D(3, depth_multiplier=2), (9, 8, 4))
    assert (deep.groups, deep.padding) == (4, ((0, 0), (0, 0)))
    both = described(layers.SeparableConv2D(8, 3, activation="relu"), (9, 8, 4))
    assert kinds(both) == [Convolution, Convolution, Pointwise]
    assert both.nodes[0].op.nodes[0].op.groups == 4
    assert both.nodes[0].op.nodes[1].op.kernel == (1, 1)


def test_channels_first():
    op = only(
        layers.Conv2D(8, 3, strides=2, padding="same", data_format="channels_first"), (4, 9, 8)
    )
    assert (op.channels, op.spatial, op.padding) == (1, (2, 3), ((1, 1), (0, 1)))
    flat = described(layers.Flatten(data_format="channels_first"), (4, 9, 8))
    assert kinds(flat) == [Transpose, Reshape]
    assert flat.nodes[0].op.nodes[0].op.permutation == (0, 2, 3, 1)


@pytest.mark.parametrize(
    ("equation", "output", "shape", "reads", "makes", "order"),
    [
        ("abc,cde->abde", (8, 2, 3), (8, 6), (2,), (2, 3), None),
        ("abc,cde->abde", (None, 2, 3), (8, 6), (2,), (2, 3), None),
        ("abcd,cde->abe", (8, 5), (8, 2, 3), (2, 3), (2,), None),
        ("abc,bd->acd", (6, 5), (8, 6), (1,), (2,), None),
        ("...x,xy->...y", (5,), (8, 6), (2,), (2,), None),
        ("abc,cd->adb", (5, 8), (8, 6), (2,), (1,), None),
    ],
)
def test_einsum_dense(equation, output, shape, reads, makes, order):
    if equation.startswith("...") and keras.__version__.startswith("3.12."):
        pytest.skip("Keras 3.12 forgets the lengths behind an ellipsis")
    spec = described(layers.EinsumDense(equation, output), shape)
    (dense, *rest) = simple(spec.nodes)
    assert (dense.op.reads, dense.op.makes) == (reads, makes)
    assert [type(node.op) for node in rest] == ([] if order is None else [Transpose])
    assert None not in spec.tensors[spec.outputs[0]]


# --- other layers ---------------------------------------------------------------------------------


def test_normalisation_layers():
    def figures(layer, shape=(9, 8, 6)):
        op = only(layer, shape)
        assert isinstance(op, Normalise)
        return op.axes, op.centred, op.groups, op.group_axis, op.scale is not None

    assert figures(layers.BatchNormalization()) == ((0, 1, 2), True, 1, None, True)
    assert figures(layers.BatchNormalization(axis=1, scale=False)) == (
        (0, 2, 3),
        True,
        1,
        None,
        False,
    )
    assert figures(layers.LayerNormalization(axis=[1, -1])) == ((1, 3), True, 1, None, True)
    assert figures(layers.GroupNormalization(3)) == ((1, 2), True, 3, 3, True)
    assert figures(layers.GroupNormalization(-1)) == ((1, 2), True, 1, None, True)
    assert figures(layers.GroupNormalization(1)) == ((1, 2, 3), True, 1, None, True)
    assert figures(layers.RMSNormalization()) == ((3,), False, 1, None, True)
    assert only(layers.BatchNormalization(epsilon=0.02), (6,)).epsilon == 0.02


def test_frozen_batch_norm_uses_the_statistics_it_has():
    layer = layers.BatchNormalization()
    layer.trainable = False
    inputs = keras.Input((6,))
    model = keras.Model(inputs, layers.Dense(2)(layer(inputs)))
    rng = np.random.default_rng(0)
    gamma, beta, mean, variance = rng.uniform(0.5, 2, (4, 6))
    layer.set_weights([gamma, beta, mean, variance])
    spec = describe(model, batch_size=4)
    assert kinds(spec) == [Combine] * 4 + [Dense]
    laws = list(spec.constants.values())
    for law, values in zip(
        laws, (mean, 1 / np.sqrt(variance + layer.epsilon), gamma, beta), strict=True
    ):
        np.testing.assert_allclose(
            [law.mean, law.rms], [values.mean(), np.sqrt((values**2).mean())], rtol=1e-5
        )


def test_attention_layers():
    spec = described(lambda x: layers.MultiHeadAttention(2, 3, value_dim=4)(x, x), (5, 6))
    assert kinds(spec) == [Dense, Transpose] * 3 + [Attention, Transpose, Dense]
    inner = [node.op for node in spec.nodes[0].op.nodes]
    assert inner[6].scale == pytest.approx(3**-0.5)
    assert not inner[6].causal
    assert (inner[8].reads, inner[8].makes) == ((2, 3), (2,))
    grouped = described(
        lambda x: layers.GroupQueryAttention(3, 4, 2)(x, x, use_causal_mask=True), (5, 6)
    )
    node = next(n for n in simple(grouped.nodes) if isinstance(n.op, Attention))
    assert [grouped.tensors[t][1] for t in node.inputs] == [4, 2, 2]
    assert node.op.causal
    axial = described(lambda x: layers.MultiHeadAttention(2, 3, attention_axes=1)(x, x), (5, 4, 6))
    node = next(n for n in simple(axial.nodes) if isinstance(n.op, Attention))
    assert axial.tensors[node.inputs[0]] == (4 * 4, 2, 5, 3)
    assert axial.tensors[axial.outputs[0]] == (4, 5, 4, 6)


def test_merging_more_than_two_is_a_chain():
    spec = described(lambda *x: layers.Average()(x), (6,), (6,), (6,))
    assert kinds(spec) == [Combine, Combine, Pointwise]
    assert spec.nodes[0].op.nodes[2].op.phi(np.array([6.0])) == pytest.approx(2)
    assert kinds(described(lambda *x: layers.Concatenate()(x), (6,), (2,), (3,))) == [Concatenate]
    assert kinds(described(lambda x: layers.Add()([x, x]), (6,))) == [Pointwise]


def test_integers_have_no_gradient():
    spec = described(layers.Embedding(11, 4), (5,), dtype="int32")
    assert spec.inputs[0].integer
    assert kinds(spec) == [Embedding]
    masked = described(
        lambda i: layers.Embedding(11, 4)(i) * ops.expand_dims(ops.cast(i > 0, "float32"), -1),
        (5,),
        dtype="int32",
    )
    assert kinds(masked) == [Embedding, Combine]
    assert masked.nodes[1].inputs[1] in masked.constants


def test_dropout_and_what_it_shares():
    assert only(layers.Dropout(0.2), (8, 6)) == Dropout(0.2)
    assert only(layers.Dropout(0.2, noise_shape=(None, 1, 6)), (8, 6)).shared == (1,)
    assert only(layers.SpatialDropout2D(0.3), (9, 8, 6)).shared == (1, 2)
    assert only(layers.SpatialDropout1D(0.3), (8, 6)).shared == (1,)


def test_recurrent_layers_are_opaque_and_say_so():
    spec = described(layers.LSTM(3), (5, 6))
    assert kinds(spec) == [Opaque]
    assert "lstm" in spec.notes[0]


class Scaled(layers.Layer):
    """A layer of the user's own that calls operations on its weights."""

    def build(self, shape):
        self.gamma = self.add_weight(shape=(shape[-1],), initializer="ones", name="gamma")
        self.kernel = self.add_weight(shape=(shape[-1], 5), name="kernel")

    def call(self, x):
        return ops.gelu(ops.matmul(x * self.gamma, self.kernel)) + 1.0


def test_a_users_layer_is_read_through():
    spec = described(Scaled(name="scaled"), (8, 6))
    assert [node.name for node in spec.nodes] == ["scaled"]
    assert isinstance(spec.nodes[0].op, Composite)
    assert kinds(spec) == [Combine, Dense, Pointwise, Pointwise]
    assert set(spec.nodes[0].weights) == {"scaled/gamma", "scaled/kernel"}


# --- operations -----------------------------------------------------------------------------------

OPERATIONS = {
    "scalar": (lambda x: 2 - x, [Pointwise]),
    "square": (lambda x: x * x, [Pointwise]),
    "rsqrt": (lambda x: ops.rsqrt(ops.abs(x)), [Pointwise, Pointwise]),
    "softmax": (lambda x: ops.softmax(x, axis=1), [Softmax]),
    "mean": (lambda x: ops.mean(x, axis=1), [Reduce]),
    "swap": (lambda x: ops.swapaxes(x, 1, 2), [Transpose]),
    "item": (lambda x: x[:, 2], [Select]),
    "part": (lambda x: x[:, 1:6:2, None], [Slice, Reshape]),
    "split": (lambda x: ops.concatenate(ops.split(x, [2, 5], axis=-1), -1), [Slice, Concatenate]),
    "scores": (lambda x: ops.matmul(x, ops.transpose(x, (0, 2, 1))), [Transpose, Einsum]),
    "letters": (lambda x: ops.einsum("bij,bkj->bik", x, x), [Einsum]),
    "constant": (lambda x: x + np.arange(6, dtype="float32"), [Combine]),
    "weights": (lambda x: ops.matmul(x, np.ones((6, 3), "float32")), [Dense]),
    "pool": (lambda x: ops.average_pool(x, 2, 1, "same"), [Pool]),
    "stopped": (lambda x: ops.stop_gradient(x) + x, [Opaque, Combine]),
}


@pytest.mark.parametrize("name", OPERATIONS)
def test_operations(name):
    function, expected = OPERATIONS[name]
    assert kinds(described(function, (8, 6))) == expected


NAMES = (
    "celu elu exponential gelu hard_shrink hard_sigmoid hard_silu hard_tanh leaky_relu log_sigmoid mish "
    "relu relu6 selu sigmoid silu soft_shrink softplus softsign sparse_plus squareplus tanh tanh_shrink"
)


@pytest.mark.parametrize("name", [n for n in NAMES.split() if hasattr(keras.activations, n)])
def test_activations_are_the_frameworks(name):
    values = np.random.default_rng(len(name)).normal(size=(3, 50)) * 3
    function = keras.activations.get(name)
    wanted = ops.convert_to_numpy(function(ops.convert_to_tensor(values.astype("float32"))))
    alone, fused = (
        only(layers.Activation(name), (50,)),
        described(layers.Dense(50, name), (50,)).nodes[1],
    )
    assert fused.name.endswith(f".{name}")
    for phi in (alone.phi, fused.op.phi):
        np.testing.assert_allclose(phi(values), wanted, atol=2e-6, rtol=2e-6)
        assert phi(values).dtype == np.float64


def test_activation_layers_with_arguments():
    values = np.random.default_rng(1).normal(size=(2, 40)) * 4
    for layer in (
        layers.ReLU(3.0, 0.1, 0.5),
        layers.LeakyReLU(0.3),
        layers.ELU(0.7),
        layers.Activation(lambda x: ops.sin(x) * x),
    ):
        wanted = ops.convert_to_numpy(layer(ops.convert_to_tensor(values.astype("float32"))))
        np.testing.assert_allclose(only(layer, (40,)).phi(values), wanted, atol=3e-6, rtol=3e-6)


def test_a_function_that_mixes_elements_is_not_taken_for_elementwise():
    op = only(layers.Activation(lambda x: x - ops.mean(x)), (40,))
    assert isinstance(op, Opaque)


# --- laws -----------------------------------------------------------------------------------------

INITIALISERS = {
    "glorot_uniform": {},
    "glorot_normal": {},
    "he_normal": {},
    "he_uniform": {},
    "lecun_normal": {},
    "variance_scaling": {"scale": 3.0, "mode": "fan_out", "distribution": "untruncated_normal"},
    "random_normal": {"mean": 0.1, "stddev": 0.3},
    "truncated_normal": {"mean": 0.2, "stddev": 0.3},
    "random_uniform": {"minval": -0.1, "maxval": 0.4},
    "orthogonal": {"gain": 1.7},
    "constant": {"value": -0.3},
    "ones": {},
    "zeros": {},
}
SHAPES = [(90, 60), (3, 3, 24, 32)]


@pytest.mark.parametrize("name", INITIALISERS)
@pytest.mark.parametrize("shape", SHAPES)
def test_initialisers_against_what_they_draw(name, shape):
    config = INITIALISERS[name]
    cls = getattr(keras.initializers, "".join(word.title() for word in name.split("_")))
    drawn = []
    for seed in range(4):
        seeded = {"seed": seed} if "seed" in cls(**config).get_config() else {}
        drawn.append(np.asarray(ops.convert_to_numpy(cls(**config, **seeded)(shape)), float))
    law = initial_law(cls(**config), shape)
    values = np.stack(drawn)
    assert law.rms == pytest.approx(np.sqrt((values**2).mean()), rel=0.02)
    assert law.mean == pytest.approx(values.mean(), abs=4 * max(law.rms, 1e-9) / values.size**0.5)


def test_unknown_initialisers_are_sampled():
    def drawn(shape, dtype=None):
        return ops.ones(shape, dtype) * 0.25

    law = initial_law(drawn, (40, 50))
    assert (law.mean, law.rms) == pytest.approx((0.25, 0.25))
    assert "sampled" in law.origin


@pytest.mark.parametrize("seed", range(3))
def test_taps_only_where_they_clearly_differ(seed):
    rng = np.random.default_rng(seed)
    even = rng.normal(size=(3, 3, 32, 64))
    assert law_of(keras.Variable(even), taps=2).taps is None
    scales = np.array([0, 1, 2, 1, 4, 1, 1, 1, 3]).reshape(3, 3, 1, 1)
    taps = law_of(keras.Variable(even * scales), taps=2).taps
    wanted = (scales**2).reshape(-1) / (scales**2).sum()
    np.testing.assert_allclose(taps, wanted, atol=0.05)


# --- models without values ------------------------------------------------------------------------


class Unbuilt(keras.Model):
    def __init__(self):
        super().__init__()
        self.first = layers.Dense(1 << 17, activation="relu")
        self.second = layers.Dense(1 << 17, kernel_initializer="he_normal")

    def call(self, x):
        return self.second(self.first(x))


def wide():
    inputs = keras.Input((1 << 17,))
    x = layers.Dense(1 << 17, activation="relu", kernel_initializer="he_normal")(inputs)
    return keras.Model(inputs, layers.Dense(1 << 17, kernel_initializer="he_normal")(x))


@pytest.mark.parametrize("factory", [wide, Unbuilt])
def test_a_model_of_any_size(factory):
    model = abstract(factory)  # 128 GiB of weights
    spec = describe(model, (((2, 1 << 17), "float32"),))
    assert model.count_params() > 3 << 33
    law = {w.name: w.law for w in spec.weights}[spec.nodes[-1].weights[0]]
    assert law.origin == "he_normal"
    assert law.rms == pytest.approx((2 / (1 << 17)) ** 0.5)


def test_abstract_and_real_models_agree():
    def factory():
        stack = [
            layers.Conv2D(32, 3, kernel_initializer="he_normal"),
            layers.BatchNormalization(),
            layers.Flatten(),
            layers.Dense(200, bias_initializer=keras.initializers.RandomNormal(0.2, 0.1)),
        ]
        return keras.Sequential([keras.Input((9, 9, 16)), *stack])

    keras.utils.set_random_seed(0)
    real = describe(factory(), batch_size=4)
    hollow = describe(abstract(factory), batch_size=4)
    assert real.tensors == hollow.tensors
    for a, b in zip(real.weights, hollow.weights, strict=True):
        assert (a.shape, a.law.origin) == (b.shape, "measured")
        assert a.law.rms == pytest.approx(b.law.rms, rel=0.05, abs=1e-9)
        assert a.law.mean == pytest.approx(b.law.mean, abs=0.2 * max(b.law.rms, 1e-9))
    later = keras.Sequential([keras.Input((3,)), layers.Dense(2)])
    assert np.isfinite(later.get_weights()[0]).all()


# --- errors ---------------------------------------------------------------------------------------


class Looping(keras.Model):
    def __init__(self):
        super().__init__()
        self.dense = layers.Dense(4)

    def call(self, x):
        while float(ops.sum(x)) > 1:
            x = self.dense(x)
        return x


def test_errors_say_what_to_do():
    with pytest.raises(CannotCheckError, match=r"Expected a keras\.Model"):
        describe(layers.Dense(3))
    with pytest.raises(CannotCheckError, match="input_shape"):
        describe(Unbuilt())
    with pytest.raises(CannotCheckError, match=r"\(None, None, 3\)|None, None, None, 3"):
        describe(keras.Sequential([keras.Input((None, None, 3)), layers.Conv2D(3, 3)]))
    model = keras.Sequential([keras.Input((5,)), layers.Dense(3)])
    with pytest.raises(CannotCheckError, match=r"input_shape=\(5,\)"):
        describe(model, (((4, 6), "float32"),))
    with pytest.raises(CannotCheckError, match="1 input shapes"):
        describe(model, (((4, 5), "float32"), ((4, 5), "float32")))
    with pytest.raises(CannotCheckError, match="names"):
        describe(make("several_inputs", 0)[0], {"left": ((4, 6), "float32")})
    with pytest.raises(CannotCheckError, match=r"evengrad check|call it once"):
        describe(Looping(), (((4, 4), "float32"),))


def test_lengths_left_open_are_given_by_the_input_shape():
    model = keras.Sequential([keras.Input((None, None, 3)), layers.Conv2D(4, 3, padding="same")])
    spec = describe(model, (((2, 8, 6, 3), "float32"),))
    assert spec.tensors[spec.outputs[0]] == (2, 8, 6, 4)
