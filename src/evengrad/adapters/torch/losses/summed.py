"""By how much a loss that is a sum is larger than the mean of its elements."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import torch

from evengrad.adapters.common.source import where
from evengrad.adapters.torch.compat import tensor_table, tree_leaves
from evengrad.adapters.torch.losses.given import loss_call
from evengrad.adapters.torch.ops.kinds import LOSSES
from evengrad.values.fact import Fact, Where

KIND = "loss_summed"
_ADD = frozenset(["add", "__add__", "__radd__", "__iadd__", "add_"])
_DIVIDE = frozenset(["div", "true_divide", "__truediv__", "__itruediv__", "div_"])
_MULTIPLY = frozenset(["mul", "__mul__", "__rmul__", "__imul__", "mul_", "multiply"])
_FOLLOWED = _ADD | _DIVIDE | _MULTIPLY | {"sum"} | LOSSES.keys()
_SCALE_FREE = frozenset(
    [
        "Adam",
        "AdamW",
        "NAdam",
        "RAdam",
        "Adamax",
        "SparseAdam",
        "Adagrad",
        "Adadelta",
        "Adafactor",
        "RMSprop",
        "Rprop",
        "Lion",
    ]
)


def scale_free(optimizer: str) -> bool:
    """Whether the steps of an optimizer do not depend on the loss's scale. optimizer: its class's name."""
    return optimizer in _SCALE_FREE


@dataclass(frozen=True, slots=True)
class _Sum:
    """factor: the loss over the mean of its elements. elements: how many they are."""

    factor: float
    elements: int
    function: str
    place: Where | None


class Sums:
    """Follows the sums of a loss's elements to the loss that is differentiated."""

    def __init__(self) -> None:
        self._known = tensor_table()

    def concerns(self, function: str) -> bool:
        """Whether a call by that name is to be followed."""
        return function in _FOLLOWED

    def follow(self, function: str, args: Any, kwargs: Any, result: Any) -> None:
        """A call that was made."""
        if not isinstance(result, torch.Tensor) or result.numel() != 1 or not result.requires_grad:
            return
        tensors = [t for t in tree_leaves((args, kwargs)) if isinstance(t, torch.Tensor)]
        known = next((t for t in tensors if t in self._known), None)
        if known is None:
            found = _summed(function, args, kwargs)
        else:
            found = self._changed(function, self._known[known], known, tensors, args)
        if found is not None:
            self._known[result] = found

    def of(self, loss: Any) -> Fact | None:
        """Of a loss that is differentiated: that it is a sum, where it is more than twice the mean."""
        found: _Sum | None = self._known.get(loss)
        if found is None or found.factor < 2:
            return None
        values = {
            "function": found.function,
            "factor": found.factor,
            "elements": found.elements,
        }
        return Fact(KIND, found.place, None, values)

    def _changed(
        self, function: str, found: _Sum, known: Any, tensors: list[Any], args: Any
    ) -> _Sum | None:
        others = [t for t in tensors if t is not known]
        if function in _ADD:
            larger = all(float(known.abs()) >= float(t.abs()) for t in others)
            return found if larger else None
        if others:
            return None if function in _DIVIDE else found  # by a count that is a tensor
        numbers = [a for a in args if isinstance(a, int | float)]
        if len(numbers) != 1 or not numbers[0]:
            return None
        by = abs(float(numbers[0]))
        return replace(
            found, factor=found.factor / by if function in _DIVIDE else found.factor * by
        )


def _summed(function: str, args: Any, kwargs: Any) -> _Sum | None:
    if function == "sum":
        given = args[0] if args else kwargs.get("input")
        batch = isinstance(given, torch.Tensor) and given.ndim > 0 and given.shape[0] > 1
        return _Sum(float(given.numel()), given.numel(), ".sum()", where()) if batch else None
    if function not in LOSSES:
        return None
    call = loss_call(function, args, kwargs)
    if call is None or call.reduction != "sum":
        return None
    classes = function in ("cross_entropy", "nll_loss") and not call.target.is_floating_point()
    count = call.target.numel() if classes else call.output.numel()
    name = f'{function}(reduction="sum")'
    return _Sum(float(count), count, name, where()) if count > 1 else None
