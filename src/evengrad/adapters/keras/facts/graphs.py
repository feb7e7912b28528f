"""The operations of a graph that TensorFlow has traced: what a tensor is made of, and the user's line of it."""

from __future__ import annotations

import linecache
from collections import deque
from typing import Any

from evengrad.adapters.common.source import is_own, shown
from evengrad.values.fact import Where

_MOST = 5000  # operations that are looked at


def before(tensor: Any, *, cut: bool = False) -> list[Any]:
    """The operations that a tensor is made of, the nearest first; none of an eager one. cut: not those behind
    a stop_gradient.
    """
    first = _op(tensor)
    found: list[Any] = []
    left, seen = deque([first] if first is not None else []), set()
    while left and len(found) < _MOST:
        op = left.popleft()
        if id(op) in seen:
            continue
        seen.add(id(op))
        found.append(op)
        if not (cut and op.type == "StopGradient"):
            left.extend(t.op for t in op.inputs)
    return found


def _op(tensor: Any) -> Any:
    try:
        return tensor.op
    except (AttributeError, NotImplementedError):
        return None


def place_of(op: Any) -> Where | None:
    """The user's line that made an operation."""
    own = [f for f in op.traceback or () if is_own(f.filename)]
    if not own:
        return None
    file, number = own[-1].filename, int(own[-1].lineno)
    return Where(shown(file), number, (own[-1].line or linecache.getline(file, number)).strip())


def is_read(op: Any, variable: Any) -> bool:
    """Whether an operation reads a Keras variable."""
    return op.type == "ReadVariableOp" and _is_of(op, variable)


def is_assigned(op: Any, variable: Any) -> bool:
    """Whether an operation gives a Keras variable a value."""
    return op.type.startswith("Assign") and _is_of(op, variable)


def _is_of(op: Any, variable: Any) -> bool:
    handle = getattr(getattr(variable, "value", variable), "handle", None)
    if handle is None or not op.inputs:
        return False
    source = op.inputs[0]
    if source is handle:
        return True
    captured = getattr(op.graph, "captures", ())
    return any(own is source and outer is handle for outer, own in captured)
