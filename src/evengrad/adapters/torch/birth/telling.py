"""A beginning as the fact that the rules judge."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from evengrad.adapters.common.expressions import argument, operator
from evengrad.adapters.torch.birth import names
from evengrad.adapters.torch.birth.heard import Beginning, HeardCall, HeardTensor
from evengrad.values.fact import Fact, Where

KIND = "born"
_UNBOUNDED = {"log", "log1p", "divide", "rsqrt", "atan2"}
"""What gives an infinity for a finite argument that is not large."""
_HUGE, _STEEP, _FAR = 1e10, 1e6, 64


def fact_of(found: Beginning, step: int, roots: Sequence[Any], batch_high: float) -> Fact:
    """The fact.

    Args:
        found: where it began.
        step: in which step.
        roots: the outermost modules, for the names of layers and weights.
        batch_high: the largest magnitude in what they were given.
    """
    given = found.direction == "given"
    told = _given(found, roots) if given else _made(found, roots)
    values = {
        "direction": found.direction,
        "what": "nan" if found.nan else "inf",
        "share": found.share,
        "dtype": found.dtype,
        "hidden": found.hidden,
        "batch_high": batch_high,
    }
    return Fact(KIND, _where(found), step, values | told)


def _given(found: Beginning, roots: Sequence[Any]) -> dict[str, Any]:
    tensor, call = found.tensor, found.call
    assert tensor is not None
    role, name, layer = tensor.role or "batch", tensor.name, ""
    if call is not None:
        outermost = _chain(call)[0]
        place = next((i for i, o in enumerate(outermost.operands) if o is tensor), None)
        if not name and place is not None and outermost.spot is not None:
            name = argument(outermost.spot, outermost.name, place)
        layer = _module(outermost, roots) if role in ("weights", "constant") else ""
    return {
        "operation": "other",
        "call": "" if call is None else call.name,
        "role": role,
        "operand": name,
        "name": layer,
        "dtype": tensor.dtype,
        "shape": list(tensor.shape),
        **_range(tensor),
    }


def _made(found: Beginning, roots: Sequence[Any]) -> dict[str, Any]:
    call = found.call
    if call is None:
        return {"operation": "other", "call": "", "role": "activation", "operand": ""}
    outermost, told = _chain(_grown(found, call))
    operation = names.canonical(told.name)
    place = _at_fault(told)
    operand = told.operands[place] if place < len(told.operands) else None
    own = told is outermost and told.spot is not None
    text = argument(told.spot, told.name, place) if own and told.spot is not None else ""
    infinite = found.direction == "forward" and not found.nan
    large = operation not in _UNBOUNDED or (operand is not None and not operand.zeros)
    return {
        "operation": operation,
        "call": (operator(told.spot) if own and told.spot is not None else "")
        or names.shown(told.function, told.name),
        "role": _role(operand, outermost),
        "operand": text or ("" if operand is None else operand.name),
        "name": _module(outermost, roots),
        "overflow": infinite and large and operation != "log",
        **({} if operand is None else {"shape": list(operand.shape), **_range(operand)}),
    }


def _grown(found: Beginning, call: HeardCall) -> HeardCall:
    """Where an overflow of huge numbers comes from: the call before it that made them of ordinary ones."""
    if found.direction != "forward" or found.nan:
        return call
    at, steepest, ratio = call, call, _STEEP
    for _ in range(_FAR):
        before = max((o for o in at.operands if not o.bad), key=_size, default=None)
        if before is None or before.call is None or _size(before) < _HUGE:
            break
        at = before.call
        largest = max((_size(o) for o in at.operands), default=0.0)
        if _size(before) > ratio * max(largest, 1.0):
            steepest, ratio = at, _size(before) / max(largest, 1.0)
    return steepest


def _size(tensor: HeardTensor) -> float:
    found = max(abs(tensor.low), abs(tensor.high))
    return 0.0 if math.isnan(found) else found


def _chain(call: HeardCall) -> tuple[HeardCall, HeardCall]:
    """The outermost call around it on the same line of the user's, and the first one from there inwards that
    the catalogue has.
    """
    chain = [call]
    while (above := chain[-1].parent) is not None and _line(above) == _line(call):
        chain.append(above)
    outwards = reversed(chain)
    known = (one for one in outwards if names.canonical(one.name) != names.OTHER)
    return chain[-1], next(known, chain[-1])


def _line(call: HeardCall) -> tuple[Any, int] | None:
    return None if call.spot is None else (call.spot.code, call.spot.line)


def _at_fault(call: HeardCall) -> int:
    """Index of the operand that is to blame: the largest of a product, else as the operation has it."""
    place = names.at_fault(call.name)
    if names.canonical(call.name) in ("matmul", names.OTHER):
        sizes = [max(abs(o.low), abs(o.high)) for o in call.operands]
        sizes = [math.inf if o.bad else s for o, s in zip(call.operands, sizes, strict=True)]
        known = [n for n, size in enumerate(sizes) if not math.isnan(size)]
        return max(known, key=lambda n: sizes[n], default=0)
    return place if place < len(call.operands) else 0


def _role(operand: HeardTensor | None, call: HeardCall) -> str:
    if operand is not None and operand.role is not None:
        return operand.role
    if call.module is not None:
        return "activation"
    return "batch" if operand is not None and not operand.trained else "output"


def _range(tensor: HeardTensor) -> dict[str, Any]:
    low, high = tensor.low, tensor.high
    known = math.isfinite(low) and math.isfinite(high)
    return {
        "low": low if known else None,
        "high": high if known else None,
        "zeros": tensor.zeros,
        "infinite": tensor.bad,
    }


def _module(call: HeardCall, roots: Sequence[Any]) -> str:
    if call.module is None:
        return ""
    for root in roots:
        for name, module in root.named_modules():
            if module is call.module:
                return name or type(root).__name__
    return type(call.module).__name__


def _where(found: Beginning) -> Where | None:
    if found.call is None:
        return None
    outermost = _chain(_grown(found, found.call))[0]
    return None if outermost.spot is None else outermost.spot.where()
