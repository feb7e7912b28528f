"""Elementwise functions: by name where that settles them, else the callable itself on the backend."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np

from evengrad.adapters.keras.backend.differentiate import array, precise
from evengrad.adapters.keras.spec.draft import LayerDraft, RuleResult, TensorOperand, axis_of
from evengrad.adapters.keras.trace.kinds import activation_name
from evengrad.adapters.keras.trace.trace import symbolic
from evengrad.theory.activations import FUNCTIONS
from evengrad.values.spec import Array, Combine, Opaque, Pointwise, Reshape, Softmax

_SEED = 20250


def on_backend(function: Callable[..., Any]) -> Callable[..., Array]:
    """A backend's function on float64 NumPy arrays."""

    def phi(*values: Array) -> Array:
        with precise():
            tensors = [
                keras.ops.convert_to_tensor(np.asarray(v, np.float64), dtype="float64")
                for v in values
            ]
            return np.asarray(array(function(*tensors)), np.float64)

    return phi


def elementwise(function: Callable[..., Any], inputs: int = 1) -> Callable[..., Array] | None:
    """The function on NumPy arrays if each result hangs on its own element alone; else None."""
    phi = on_backend(function)
    values = np.random.default_rng(_SEED).normal(size=(inputs, 7)) * 1.7
    try:
        whole = phi(*values)
        turned = phi(*values[:, ::-1])[::-1]
        single = np.concatenate([phi(*values[:, i : i + 1]) for i in range(values.shape[1])])
    except Exception:
        return None
    if whole.shape != values.shape[1:] or np.isnan(whole).all():
        return None
    same = [
        np.allclose(whole, other, rtol=1e-3, atol=1e-5, equal_nan=True)
        for other in (turned, single)
    ]
    return phi if all(same) else None


def activation(function: Any, rank: int) -> Pointwise | Softmax | Reshape | Opaque:
    """The op of an activation function of a layer."""
    name = activation_name(function)
    plain = getattr(keras.activations, name, None) is function
    if plain and name == "linear":
        return Reshape()
    if plain and name in ("softmax", "log_softmax"):
        return Softmax(rank - 1, log=name == "log_softmax")
    if plain and name in FUNCTIONS:
        return Pointwise(name, FUNCTIONS[name])
    if isinstance(function, keras.layers.Layer):
        if isinstance(function, keras.layers.Softmax) and isinstance(function.axis, int):
            return Softmax(axis_of(function.axis, rank))
        function = function.call
    phi = elementwise(function)
    return Opaque(f"{name} is not elementwise") if phi is None else Pointwise(name, phi)


def activation_layer(draft: LayerDraft) -> RuleResult:
    """Activation, whose function may be the user's, and ReLU, whose arguments are one kink or two."""
    x, layer = draft.inputs[0], draft.owner
    if isinstance(layer, keras.layers.ReLU):
        op: Any = Pointwise(draft.call.type, _rectifier(layer))
    else:
        op = activation(layer.activation, draft.rank(x))
    if isinstance(op, Opaque):
        return draft.opaque(op.reason)
    return draft.emit(op, x, shape=draft.out)


def _rectifier(layer: Any) -> Callable[[Array], Array]:
    """ReLU with its arguments."""
    slope, threshold = float(layer.negative_slope), float(layer.threshold)
    top = np.inf if layer.max_value is None else float(layer.max_value)
    return lambda z: np.where(z >= threshold, np.minimum(z, top), slope * (z - threshold))


BINARY: dict[str, Callable[..., Array]] = {
    "add": np.add,
    "subtract": np.subtract,
    "multiply": np.multiply,
    "divide": np.divide,
    "maximum": np.maximum,
    "minimum": np.minimum,
    "power": np.power,
}
_ALIASES = {
    "sub": "subtract",
    "mul": "multiply",
    "div": "divide",
    "true_divide": "divide",
    "truediv": "divide",
    "pow": "power",
    "add_v2": "add",
    "addv2": "add",
    "max": "maximum",
    "min": "minimum",
}


def binary(draft: LayerDraft) -> RuleResult:
    """Arithmetic of two operands, of which one or both are tensors."""
    word = draft.call.type
    name = _ALIASES.get(word, word)
    operands = [
        v for v in draft.operands() if isinstance(v, TensorOperand | int | float | np.generic)
    ]
    if len(operands) != 2 or not any(isinstance(v, TensorOperand) for v in operands):
        return draft.opaque("more than two operands")
    return combined(draft, name, operands[0], operands[1], draft.out)


def combined(draft: LayerDraft, name: str, left: Any, right: Any, shape: tuple[int, ...]) -> int:
    """Add, multiply, ... of tensors or scalars."""
    function = BINARY[name]
    if isinstance(left, TensorOperand) and isinstance(right, TensorOperand):
        if left == right:
            return draft.emit(Pointwise(name, lambda z: function(z, z)), left.number, shape=shape)
        return draft.emit(Combine(name, function), left.number, right.number, shape=shape)
    if isinstance(left, TensorOperand):
        scalar = float(right)
        return draft.emit(Pointwise(name, lambda z: function(z, scalar)), left.number, shape=shape)
    scalar = float(left)
    return draft.emit(Pointwise(name, lambda z: function(scalar, z)), right.number, shape=shape)


def fallback(draft: LayerDraft) -> RuleResult | None:
    """Any operation that turns out to be elementwise when tried; None if it is not."""
    call = draft.call
    flat = keras.tree.flatten((call.args, call.kwargs))
    tensors = list({id(t): t for t in flat if symbolic(t)}.values())
    fixed = any(
        hasattr(v, "shape") and len(v.shape) for v in flat if not symbolic(v) and v is not None
    )
    if not 1 <= len(tensors) <= 2 or fixed or len(call.outputs) != 1:
        return None
    if call.variables() or any(tuple(t.shape) != draft.out for t in tensors):
        return None
    run = call.operation.call

    def function(*values: Any) -> Any:
        given = {id(t): v for t, v in zip(tensors, values, strict=True)}
        args, kwargs = keras.tree.map_structure(
            lambda v: given.get(id(v), v), (call.args, call.kwargs)
        )
        return run(*args, **kwargs)

    phi = elementwise(function, len(tensors))
    if phi is None:
        return None
    op = Pointwise(call.type, phi) if len(tensors) == 1 else Combine(call.type, phi)
    return draft.emit(op, *(draft.table.number(t) for t in tensors), shape=draft.out)
