"""Words of what an operation was given where a NaN or an infinity was born, for the catalogue of operations."""

from __future__ import annotations

import math
import re
from collections.abc import Callable

from evengrad.values.fact import Fact
from evengrad.values.message import msg
from evengrad.values.probe import Frontend

_LONGEST = 60
_NUMBER = re.compile(r"(?<![\w.])\d+\.?\d*(?:[eE][+-]?\d+)?(?![\w.])")
_LEAST_HALF = 2.98e-8  # half of the smallest float16: what is below is rounded to 0
_TENSORFLOW = {
    "log": "math.log",
    "log1p": "math.log1p",
    "rsqrt": "math.rsqrt",
    "clip": "clip_by_value",
    "sum": "reduce_sum",
    "mean": "reduce_mean",
    "var": "math.reduce_variance",
    "arccos": "acos",
    "arcsin": "asin",
    "arctan2": "atan2",
    "power": "pow",
    "log_softmax": "nn.log_softmax",
    "log_sigmoid": "math.log_sigmoid",
    "logsumexp": "reduce_logsumexp",
    "softplus": "math.softplus",
    "softmax": "nn.softmax",
}
"""What TensorFlow calls differently from ``keras.ops``."""
_JAX = {"log_softmax": "nn.log_softmax", "log_sigmoid": "nn.log_sigmoid", "rsqrt": "lax.rsqrt"}
_JAX |= {"logsumexp": "nn.logsumexp", "softplus": "nn.softplus", "softmax": "nn.softmax"}


def operand(fact: Fact, other: str = "x") -> str:
    """The user's own expression of the operand where it is short enough to be written again; else ``other``."""
    text = str(fact.values.get("operand") or "")
    return text if text and len(text) <= _LONGEST and "\n" not in text else other


def atom(fact: Fact, other: str = "x") -> str:
    """The same, in brackets where a method call could not be hung on it."""
    text = operand(fact, other)
    simple = text.replace(".", "").replace("_", "").isalnum() or text.endswith((")", "]"))
    return text if simple and not _joined(text) else f"({text})"


def epsilon(fact: Fact) -> str:
    """A number that is not lost beside 1 in the operand's type: 1e-4 in half precision, else 1e-8."""
    return "1e-4" if half(fact) else "1e-8"


def half(fact: Fact) -> bool:
    """Whether the result had half precision."""
    return str(fact.values.get("dtype")) in ("float16", "half")


def vanished(fact: Fact) -> str:
    """The number in the user's own operand that is 0 in half precision, as written; empty where none is."""
    if not half(fact):
        return ""
    text = f"{fact.values.get('operand') or ''} {fact.where.code if fact.where else ''}"
    return next((n for n in _NUMBER.findall(text) if 0 < float(n) < _LEAST_HALF), "")


def low(fact: Fact) -> float:
    """The operand's smallest finite value; NaN where not known."""
    return _figure(fact, "low")


def high(fact: Fact) -> float:
    """The operand's largest finite value; NaN where not known."""
    return _figure(fact, "high")


def zeros(fact: Fact) -> float:
    """Share of the operand that is exactly 0."""
    found = _figure(fact, "zeros")
    return 0.0 if math.isnan(found) else found


def raw(fact: Fact) -> bool:
    """Whether something overflowed in a model whose inputs go beyond 10 (normalised ones do not)."""
    return bool(fact.values.get("overflow")) and largest_input(fact) > 10


def largest_input(fact: Fact) -> float:
    """The largest magnitude in what the model was given; 0 where not known."""
    found = _figure(fact, "batch_high")
    return 0.0 if math.isnan(found) else found


def in_loss(fact: Fact) -> bool:
    """Whether the operation is one of a loss of Keras' own, in which the user can change nothing."""
    return str(fact.values.get("call") or "").startswith("keras.losses.")


def backward(fact: Fact) -> bool:
    """Whether it was born in the backward pass."""
    return fact.values.get("direction") == "backward"


def code(fact: Fact, frontend: Frontend, torch: str, keras: str) -> str:
    """One of two, ``keras.ops`` in the words of what the user calls: tf.sqrt, jnp.sqrt."""
    if frontend == "torch":
        return torch
    call = str(fact.values.get("call") or "")
    if call.startswith("tf."):
        return _rewritten(keras, lambda m: f"tf.{_TENSORFLOW.get(m[1], m[1])}")
    if frontend == "jax" or call.startswith(("jnp.", "jax.")):
        return _rewritten(keras, _in_jax)
    return keras


def _rewritten(keras: str, name: Callable[[re.Match[str]], str]) -> str:
    """With other names for ``ops.name``; a message without any stays one."""
    written = re.sub(r"\bops\.(\w+)", name, keras)
    return keras if written == keras else written


def _in_jax(match: re.Match[str]) -> str:
    name = match[1]
    return f"jax.{_JAX[name]}" if name in _JAX else f"jnp.{name}"


def hidden(fact: Fact, frontend: Frontend) -> tuple[str, ...]:
    """What to say where a ``where`` discards the branch; nothing elsewhere."""
    if frontend == "jax":
        return _hidden(fact, "jnp.where", "jnp.where(mask, x, 1.0)")
    return hidden_torch(fact) if frontend == "torch" else hidden_keras(fact)


def hidden_torch(fact: Fact) -> tuple[str, ...]:
    """What to say to PyTorch users where a ``where`` discards the branch; nothing elsewhere."""
    return _hidden(fact, "torch.where", "torch.where(mask, x, torch.ones_like(x))")


def hidden_keras(fact: Fact) -> tuple[str, ...]:
    """The same in the words of Keras."""
    return _hidden(fact, "where", "ops.where(mask, x, 1.0)")


def _hidden(fact: Fact, name: str, code: str) -> tuple[str, ...]:
    if not fact.values.get("hidden"):
        return ()
    return (
        msg(
            "{name} does not help: it computes both branches, and the gradient of the discarded one is "
            "0 * inf = NaN; make the operand harmless before the operation: {code}",
            name=name,
            code=code,
        ),
    )


def _figure(fact: Fact, name: str) -> float:
    found = fact.values.get(name)
    return math.nan if found is None else float(found)


def _joined(text: str) -> bool:
    """Whether a binary operation stands outside all brackets."""
    depth = 0
    for sign in text:
        depth += (sign in "([{") - (sign in ")]}")
        if depth == 0 and sign in "+-*/ @%<>":
            return True
    return False
