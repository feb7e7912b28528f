"""Tensors that are a mistake where they become the loss, followed from where they are made to where they do."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import torch

from evengrad.adapters.common.source import where
from evengrad.adapters.torch.compat import tensor_table, tree_leaves
from evengrad.adapters.torch.losses.given import head_of, readable
from evengrad.adapters.torch.losses.shapes import broadcast, pairs
from evengrad.adapters.torch.losses.softmax import one_unit
from evengrad.adapters.torch.losses.targets import outside_mask
from evengrad.adapters.torch.ops.kinds import LOSSES
from evengrad.values.fact import Fact, Where

_SUBTRACT = frozenset(["sub", "subtract", "__sub__", "__rsub__", "sub_", "__isub__", "rsub"])
_MULTIPLY = frozenset(["mul", "multiply", "__mul__", "__rmul__", "mul_", "__imul__"])
_REDUCE = frozenset(["mean", "sum", "norm", "vector_norm", "nanmean", "nansum", "dist"])
_CHOOSE = frozenset(["__getitem__", "masked_select"])
_MOVE = frozenset(["view", "reshape", "flatten", "squeeze", "unsqueeze", "contiguous", "ravel"])
_ELEMENTWISE = frozenset(
    [
        "pow",
        "__pow__",
        "square",
        "abs",
        "__abs__",
        "absolute",
        "sqrt",
        "log",
        "log2",
        "log10",
        "log1p",
        "exp",
        "cosh",
        "neg",
        "__neg__",
        "clamp",
        "clamp_min",
        "clip",
        "softplus",
        "add",
        "__add__",
        "__radd__",
        "__iadd__",
        "add_",
        "div",
        "true_divide",
        "__truediv__",
        "float",
        "double",
        "to",
        "nan_to_num",
        "max",
        "maximum",
        "where",
        *LOSSES,
    ]
)
_CARRYING = _SUBTRACT | _MULTIPLY | _REDUCE | _CHOOSE | _MOVE | _ELEMENTWISE
_PAIRING = ("None", "unsqueeze", "newaxis")
"""What stands in the line of somebody who pairs on purpose."""


@dataclass(frozen=True, slots=True)
class Mark:
    """What a tensor would show as the loss.

    Attributes:
        kind: of the fact.
        place: the line that made it.
        values: of the fact.
        bad: where it is wrong, for elements that may be masked out yet; None: everywhere.
        direct: only a sum that follows at once shows it.
    """

    kind: str
    place: Where | None
    values: dict[str, Any] = field(hash=False)
    bad: Any = None
    direct: bool = False


class Marks:
    """Follows marked tensors through the arithmetic of a loss written by hand, until they are one number."""

    def __init__(self) -> None:
        self._marked = tensor_table()

    def concerns(self, function: str) -> bool:
        """Whether a call by that name can make a mark or carry one."""
        return function in _MAKING or (function in _CARRYING and len(self._marked) > 0)

    def put(self, tensor: Any, mark: Mark) -> None:
        """From now on."""
        self._marked[tensor] = mark

    def follow(self, function: str, args: Any, kwargs: Any, result: Any) -> Fact | None:
        """A call that was made: what it shows where it ends a loss."""
        if not isinstance(result, torch.Tensor) or not result.requires_grad:
            return None
        tensors = [t for t in tree_leaves((args, kwargs)) if isinstance(t, torch.Tensor)]
        mark = self._carried(function, tensors, args, kwargs) if function in _CARRYING else None
        mark = mark or _made(function, tensors, args, kwargs)
        if mark is None:
            return None
        if result.numel() == 1 and (function in _REDUCE or function in LOSSES):
            return Fact(mark.kind, mark.place, None, mark.values)
        self._marked[result] = mark
        return None

    def _carried(self, function: str, tensors: list[Any], args: Any, kwargs: Any) -> Mark | None:
        for tensor in tensors:
            mark: Mark | None = self._marked.get(tensor)
            if mark is None:
                continue
            others = [t for t in tensors if t is not tensor and t.numel() > 1]
            mark = _after(mark, function, others, args, kwargs)
            if mark is not None:
                return mark
        return None


def _after(mark: Mark, function: str, others: list[Any], args: Any, kwargs: Any) -> Mark | None:
    """What becomes of a mark in one call, beside other tensors."""
    if mark.direct:
        return mark if function in _REDUCE | _MOVE else None
    if mark.kind == "one_unit_softmax" and any(t.requires_grad for t in others):
        return None  # it weighs something else
    if mark.bad is None:
        return None if function in _CHOOSE else mark
    if function in _REDUCE or function in _MOVE:
        return replace(mark, bad=None) if function in _REDUCE else None
    bad = mark.bad
    if function in _CHOOSE:
        bad = getattr(bad, function)(*args[1:], **kwargs)
    elif function == "where":
        bad = bad & args[0]
    elif function in _MULTIPLY:
        for other in others:
            bad = bad & (other != 0)
    return replace(mark, bad=bad) if bool(bad.any()) else None


def _made(function: str, tensors: list[Any], args: Any, kwargs: Any) -> Mark | None:
    if function in _SOFTMAX:
        values = one_unit(function, args, kwargs)
        return None if values is None else Mark("one_unit_softmax", where(), values)
    if function not in _SUBTRACT | _MULTIPLY or len(tensors) != 2:
        return None
    found = _paired(function, tensors)
    return found or (_masked(tensors) if function in _MULTIPLY else None)


def _sides(tensors: list[Any]) -> tuple[Any, Any] | None:
    """What the model made, and what it did not."""
    made = [t for t in tensors if t.requires_grad and t.grad_fn is not None]
    given = [t for t in tensors if not t.requires_grad]
    return (made[0], given[0]) if len(made) == len(given) == 1 else None


def _paired(function: str, tensors: list[Any]) -> Mark | None:
    result = pairs(tensors[0].shape, tensors[1].shape)
    sides = None if result is None else _sides(tensors)
    if sides is None or result is None:
        return None
    output, target = sides
    place = where()
    made = type(output.grad_fn).__name__
    on_purpose = made.startswith(("Unsqueeze", "Index"))
    if on_purpose or (place and any(word in place.code for word in _PAIRING)):
        return None
    name = "the product" if function in _MULTIPLY else "the difference"
    values = broadcast(name, output.shape, target.shape, result) | {"first": output is tensors[0]}
    return Mark("shapes_broadcast", place, values)


def _masked(tensors: list[Any]) -> Mark | None:
    """A probability times a mask of 0 and something above 1, as a Dice loss sums it."""
    sides = _sides(tensors)
    if sides is None or sides[0].shape != sides[1].shape or not readable(*sides):
        return None
    if head_of(sides[0]) not in ("sigmoid", "softmax"):
        return None
    values = outside_mask(sides[1])
    return None if values is None else Mark("targets_outside", where(), values, direct=True)


_SOFTMAX = frozenset(["softmax", "log_softmax", "softmin"])
_MAKING = _SUBTRACT | _MULTIPLY | _SOFTMAX
