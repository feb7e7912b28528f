"""From a recorded call to an operation of a spec; what nobody knows is tried out, then opaque."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from evengrad.adapters.torch.compat import tree_map
from evengrad.adapters.torch.ops.draft import IDENTITY, DraftedCall, Operand, OperationDraft
from evengrad.adapters.torch.ops.linear import LINEAR, LOOKUPS, lookup
from evengrad.adapters.torch.ops.moves import MOVES, pool
from evengrad.theory.activations import FUNCTIONS, canonical, leaky_relu
from evengrad.values.spec import Array, Combine, Opaque, Pointwise

_BINARY: dict[str, tuple[str, Callable[[Array, Array], Array]]] = {
    "add": ("add", lambda a, b: a + b),
    "sub": ("subtract", lambda a, b: a - b),
    "subtract": ("subtract", lambda a, b: a - b),
    "rsub": ("subtract", lambda a, b: b - a),
    "mul": ("multiply", lambda a, b: a * b),
    "multiply": ("multiply", lambda a, b: a * b),
    "div": ("divide", lambda a, b: a / b),
    "divide": ("divide", lambda a, b: a / b),
    "true_divide": ("divide", lambda a, b: a / b),
    "truediv": ("divide", lambda a, b: a / b),
    "rtruediv": ("divide", lambda a, b: b / a),
    "maximum": ("maximum", np.maximum),
    "minimum": ("minimum", np.minimum),
    "radd": ("add", lambda a, b: a + b),
    "rmul": ("multiply", lambda a, b: a * b),
    "iadd": ("add", lambda a, b: a + b),
    "isub": ("subtract", lambda a, b: a - b),
    "imul": ("multiply", lambda a, b: a * b),
    "itruediv": ("divide", lambda a, b: a / b),
}
_HIDES = 1e4  # the rms of a mask that is added to logits
_REVERSED = {"rsub", "rtruediv"}


def draft(name: str, function: Any, args: Any, kwargs: Any, outputs: list[Any]) -> OperationDraft:
    """An operation for a call that a gradient comes through. args, kwargs: with Operands for tensors."""
    plain = _plain(name)
    call = DraftedCall(plain, function, args, kwargs, [tuple(t.shape) for t in outputs])
    if not call.data() and plain not in LOOKUPS:
        return OperationDraft(Opaque("it reads no activation"), [])
    try:
        return _known(call)
    except Exception as error:
        return OperationDraft(Opaque(f"{plain}: {type(error).__name__} {error}"[:120]), call.data())


def _known(call: DraftedCall) -> OperationDraft:
    if not call.data() and call.name != "embedding":
        return lookup(call)
    rule = LINEAR.get(call.name) or MOVES.get(call.name)
    if call.name in ("max", "min") and len(call.data()) == 1:
        rule = MOVES["amax"]
        call.name = "a" + call.name
    if "pool" in call.name:
        rule = pool
    if rule is not None:
        return rule(call)
    tensors = [o for o in call.operands() if o.shape != () or o.number is not None]
    if call.name in _BINARY and len(tensors) == 2:
        return _combined(call, tensors)
    return _pointwise(call)


def _plain(name: str) -> str:
    """One spelling: "__iadd__" and "add_" are add; "_max_pool2d" is max_pool2d."""
    if name.startswith("__"):
        name = name.strip("_")
    return name.strip("_")


def _combined(call: DraftedCall, tensors: list[Operand]) -> OperationDraft:
    name, phi = _BINARY[call.name]
    factor = float(call.kwargs.get("alpha", 1))
    if call.name in _REVERSED:
        tensors, phi = tensors[::-1], _BINARY[call.name[1:]][1]
    if name == "add" and call.x.shape == call.out and _masks(tensors):
        return OperationDraft(IDENTITY, [call.x])
    if factor == 1:
        return OperationDraft(Combine(name, phi), tensors)
    scaled = Pointwise("multiply", lambda z: factor * z)
    last = Combine(name, phi), [("in", 0), ("step", 0)], call.out
    return OperationDraft(None, tensors, [(scaled, [("in", 1)], tensors[1].shape), last])


def _masks(tensors: list[Operand]) -> bool:
    """Whether one of them is minus infinity, or as good as that, wherever it is not zero."""
    laws = [o.constant() for o in tensors if o.number is None]
    return any(not law.rms < _HIDES for law in laws)


def _pointwise(call: DraftedCall) -> OperationDraft:
    """An elementwise function of one tensor, by its known formula or by itself."""
    x = call.x
    if len(call.data()) != 1 or call.out != x.shape or len(call.outputs) != 1:
        return OperationDraft(Opaque(f"no rule for {call.name}"), call.data())
    return OperationDraft(Pointwise(call.name, _formula(call) or _itself(call)), [x])


def _formula(call: DraftedCall) -> Callable[[Array], Array] | None:
    name = canonical(call.name)
    if name == "gelu" and call.option(1, "approximate", "none") != "none":
        name = "gelu_tanh"
    if name == "leaky_relu":
        return leaky_relu(float(call.option(1, "negative_slope", 0.01)))
    if name == "prelu":
        return leaky_relu(call.option(1, "weight").constant().mean)
    if name in ("elu", "softplus") and (len(call.args) > 1 or call.kwargs.keys() - {"inplace"}):
        return None
    if name in ("hard_tanh", "hard_swish"):
        return None
    return FUNCTIONS.get(name)


def _itself(call: DraftedCall) -> Callable[[Array], Array]:
    """The call's own function on NumPy arrays; refused where it is not elementwise."""
    number = call.x.number

    def phi(z: Array) -> Array:
        def fill(value: Any) -> Any:
            if not isinstance(value, Operand):
                return value
            if value.number == number:
                return torch.from_numpy(np.ascontiguousarray(z))
            return _scalar(value)

        args, kwargs = tree_map(fill, call.args), tree_map(fill, call.kwargs)
        with torch.no_grad():
            found: Array = call.function(*args, **kwargs).double().numpy()
        return found

    for operand in call.operands():
        if operand.number is None:
            operand.tensor = torch.tensor(_scalar(operand))
    _expect_elementwise(phi)
    return phi


def _scalar(operand: Operand) -> float:
    law = operand.constant()
    if law.origin == "unknown":
        raise TypeError("a number that is not known")
    return law.mean


def _expect_elementwise(phi: Callable[[Array], Array]) -> None:
    values = np.linspace(-2.0, 2.0, 40)
    whole = phi(values)
    halves = np.concatenate([phi(values[:13]), phi(values[13:])])
    if whole.shape != values.shape or not np.allclose(whole, halves, equal_nan=True):
        raise TypeError("it is not elementwise")
