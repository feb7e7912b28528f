"""Each cure of the catalogue in the words of Keras, executed where the operation goes wrong."""

import os
from dataclasses import dataclass, field

import numpy as np
import pytest
from keras import ops

from evengrad.diagnosis import operations
from evengrad.values.fact import Fact

BACKEND = os.environ["KERAS_BACKEND"]


@dataclass
class Cure:
    """x: what the sick expression is given. said: what of the advice is executed; it must stand in it."""

    operation: str
    x: list
    sick: str
    said: str
    cured: str = "{said}"
    values: dict = field(default_factory=dict)
    names: dict = field(default_factory=dict)


MASK = np.array([[True, True], [False, True]])
CASES = [
    Cure("sqrt", [0, 1], "ops.sqrt(x)", "ops.sqrt(ops.maximum(x, 1e-8))"),
    Cure("rsqrt", [0, 1], "ops.rsqrt(x)", "ops.rsqrt(ops.maximum(x, 1e-8))"),
    Cure("log", [0, 1], "ops.log(x)", "ops.log(ops.maximum(x, 1e-8))"),
    Cure("log1p", [-1, 0], "ops.log1p(x)", "ops.log1p(ops.maximum(x, -1 + 1e-6))"),
    Cure("exp", [100], "ops.exp(x)", "ops.exp(ops.minimum(x, 80))"),
    Cure("exp", [100], "ops.log(1 + ops.exp(x))", "ops.softplus(x)"),
    Cure("pow", [-1.0], "ops.power(x, p)", "ops.power(ops.maximum(x, 1e-8), p)", names={"p": 0.5}),
    Cure("acos", [1.0], "ops.arccos(x)", "ops.arccos(ops.clip(x, -1 + 1e-6, 1 - 1e-6))"),
    Cure("asin", [1.1], "ops.arcsin(x)", "ops.arcsin(ops.clip(x, -1 + 1e-6, 1 - 1e-6))"),
    Cure(
        "norm",
        [[0.0, 0.0]],
        "ops.sqrt(ops.sum(ops.square(x), axis=-1))",
        "ops.sqrt(ops.sum(ops.square(x), axis=-1) + 1e-8)",
    ),
    Cure(
        "std",
        [2.0, 2.0],
        "ops.sqrt(ops.var(x))",
        "ops.sqrt(ops.var(x, axis=0) + 1e-8)",
        values={"direction": "backward"},
    ),
    Cure(
        "softmax",
        [[0.0, 0.0], [0.0, 0.0]],
        "ops.softmax(ops.where(mask, -np.inf, x))",
        "ops.where(mask, -1e9, scores)",
        "ops.softmax({said})",
        names={"mask": MASK},
    ),
    Cure(
        "log_softmax",
        [[0.0, 0.0], [0.0, 0.0]],
        "ops.log_softmax(ops.where(mask, -np.inf, x))",
        "ops.log_softmax(ops.where(mask, -1e9, scores), axis=-1)",
        names={"mask": MASK},
    ),
    Cure(
        "logsumexp",
        [[0.0, 0.0], [0.0, 0.0]],
        "ops.logsumexp(ops.where(mask, -np.inf, x), axis=-1)",
        "ops.logsumexp(ops.maximum(x, -1e9), axis=-1)",
        "ops.logsumexp(ops.maximum(ops.where(mask, -np.inf, x), -1e9), axis=-1)",
        names={"mask": MASK},
    ),
    Cure(
        "cross_entropy",
        [1.0, 2.0],
        "ops.sum(x * mask) / ops.sum(mask)",
        "ops.sum(loss * mask) / ops.maximum(ops.sum(mask), 1)",
        names={"mask": np.zeros(2, "float32")},
    ),
    Cure(
        "binary_cross_entropy",
        [1.0],
        "-ops.log(1 - x)",
        "ops.clip(x, 1e-6, 1 - 1e-6)",
        "-ops.log(1 - {said})",
    ),
    Cure(
        "kl_div",
        [[0.0, 200.0]],
        "ops.sum(p * (ops.log(p) - ops.log(ops.softmax(x))))",
        "ops.log(ops.maximum(q, 1e-8))",
        "ops.sum(p * (ops.log(p) - ops.log(ops.maximum(ops.softmax(x), 1e-8))))",
        names={"p": np.array([[0.5, 0.5]], "float32")},
    ),
    Cure(
        "normalize",
        [[0.0, 0.0]],
        "x / ops.sqrt(ops.sum(ops.square(x), axis=-1, keepdims=True))",
        "x / ops.sqrt(ops.sum(ops.square(x), axis=-1, keepdims=True) + 1e-6)",
    ),
    Cure(
        "cosine_similarity",
        [[0.0, 0.0]],
        "x / ops.sqrt(ops.sum(ops.square(x), axis=-1, keepdims=True))",
        "a / ops.sqrt(ops.sum(ops.square(a), axis=-1, keepdims=True) + 1e-6)",
    ),
    Cure(
        "mean",
        [1.0, 2.0],
        "ops.sum(x * mask) / ops.sum(mask)",
        "ops.sum(x * mask) / ops.maximum(ops.sum(mask), 1)",
        names={"mask": np.zeros(2, "float32")},
    ),
    Cure("divide", [0.0, 1.0], "1 / x", "a / (x + 1e-8)", names={"a": 1.0}, values={"zeros": 0.5}),
    Cure("divide", [0.0, 1.0], "1 / x", "a / ops.maximum(x, 1e-8)", names={"a": 1.0}),
    Cure("divide", [-1.0, 0.0], "1 / x", "a / ops.where(x == 0, 1e-8, x)", names={"a": 1.0}),
]


def fact(case):
    x = np.array(case.x)
    values = {
        "operation": case.operation,
        "call": "",
        "direction": "forward",
        "operand": "x",
        "low": float(x.min()),
        "high": float(x.max()),
        "dtype": "float32",
    }
    return Fact("born", None, 0, values | case.values)


def finite(code, case):
    """Whether the value and the gradient of an expression are."""

    def function(x):
        given = {name: ops.convert_to_tensor(value) for name, value in case.names.items()}
        names = {"ops": ops, "np": np, "x": x, "scores": x, "loss": x, "q": x}
        return ops.sum(eval(code, names | {"a": x} | given))

    value, gradient = differentiate(function, np.array(case.x, "float32"))
    return bool(np.isfinite(value).all() and np.isfinite(gradient).all())


def differentiate(function, x):
    if BACKEND == "tensorflow":
        import tensorflow as tf

        given = tf.Variable(x)
        with tf.GradientTape() as tape:
            value = function(given)
        return value.numpy(), tape.gradient(value, given).numpy()
    if BACKEND == "jax":
        import jax

        value, gradient = jax.value_and_grad(function)(x)
        return np.asarray(value), np.asarray(gradient)
    import torch

    given = torch.tensor(x, requires_grad=True)
    value = function(given)
    value.backward()
    return value.detach().numpy(), given.grad.numpy()


@pytest.mark.keras
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.operation)
def test_the_advised_change_is_finite_where_the_operation_is_not(case):
    text = "\n".join(operations.advice(fact(case), "keras"))
    assert case.said in text
    assert not finite(case.sick, case)
    assert finite(case.cured.format(said=case.said), case)


@pytest.mark.keras
def test_an_angle_at_the_origin():
    code = "ops.arctan2(y, ops.where(ops.logical_and(x == 0, y == 0), ops.ones_like(x), x))"
    case = Cure("atan2", [0.0], "", code, names={"y": np.zeros(1, "float32")})
    assert code in "\n".join(operations.advice(fact(case), "keras"))
    assert finite(code, case)


@pytest.mark.keras
@pytest.mark.parametrize(
    ("call", "operation", "said"),
    [
        ("tf.sqrt", "sqrt", "tf.sqrt(tf.maximum(x, 1e-8))"),
        ("tf.math.log", "log", "tf.math.log(tf.maximum(x, 1e-8))"),
        ("tf.acos", "acos", "tf.acos(tf.clip_by_value(x, -1 + 1e-6, 1 - 1e-6))"),
        ("jnp.log1p", "log1p", "jnp.log1p(jnp.maximum(x, -1 + 1e-6))"),
        (
            "jax.nn.log_softmax",
            "log_softmax",
            "jax.nn.log_softmax(jnp.where(mask, -1e9, scores), axis=-1)",
        ),
    ],
)
def test_the_change_is_in_the_words_of_what_the_user_calls(call, operation, said):
    values = {"operation": operation, "call": call, "operand": "x", "low": 0.0}
    assert said in "\n".join(operations.advice(Fact("born", None, 0, values), "keras"))
    module = pytest.importorskip("tensorflow" if call.startswith("tf") else "jax")
    jnp = getattr(module, "numpy", None)
    names = {"tf": module, "jax": module, "jnp": jnp, "x": np.zeros(2, "float32")}
    names |= {"scores": np.zeros((2, 2), "float32"), "mask": MASK}
    assert np.isfinite(np.asarray(eval(said, names))).all()
