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
_FOLLOWED = _ADD | _DIVIDE | _MULTIPLY | {"sum", "mean"} | LOSSES.keys()
MIXED = "terms_mixed"
_LARGER = 10.0  # times the mean beside it; below, the sum does no harm
_MOST = 4  # terms of one sum that may each be the largest, as long as nobody has looked
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
    """factor: the loss over the mean of its elements. elements: how many they are. larger: of each sum that it
    is a term of, whether it is the largest one, where the losses are. rows: samples.
    """

    factor: float
    elements: int
    function: str
    place: Where | None
    larger: tuple[Any, ...] = ()
    rows: int = 0


@dataclass(frozen=True, slots=True)
class _Average:
    """The mean of a batch's elements, as it is."""

    function: str
    place: Where | None
    rows: int


class Sums:
    """Follows the sums of a loss's elements to the loss that is differentiated."""

    def __init__(self) -> None:
        self._known = tensor_table()
        self._averages = tensor_table()
        self._mixed: list[Fact] = []

    def mixed(self) -> list[Fact]:
        """Sums over a batch that were added to its means since the last time, and are much larger."""
        found, self._mixed = self._mixed, []
        return found

    def concerns(self, function: str) -> bool:
        """Whether a call by that name is to be followed."""
        return function in _FOLLOWED

    def follow(self, function: str, args: Any, kwargs: Any, result: Any) -> None:
        """A call that was made."""
        if not isinstance(result, torch.Tensor) or result.numel() != 1 or not result.requires_grad:
            return
        tensors = [t for t in tree_leaves((args, kwargs)) if isinstance(t, torch.Tensor)]
        known = [t for t in tensors if t in self._known]
        average = None if tensors and function in _ADD else _averaged(function, args, kwargs)
        if average is not None:
            self._averages[result] = average
        if known and function in _ADD:
            self._compare(known, tensors)
        if not known:
            made = _summed(function, args, kwargs)
            found = [] if made is None else [made]
        else:
            changed = (
                self._changed(function, one, t, tensors, args)
                for t in (known if function in _ADD else known[:1])
                for one in self._known[t]
            )
            found = [one for one in changed if one is not None]
        if found:
            self._known[result] = found[:_MOST]

    def _compare(self, known: list[Any], tensors: list[Any]) -> None:
        for one in known:
            for other in tensors:
                found, average = self._known[one][0], self._averages.get(other)
                if average is None or found.rows != average.rows or found.factor < found.rows:
                    continue
                sizes = [abs(float(t.detach())) for t in (one, other)]
                if sizes[0] > _LARGER * sizes[1] > 0:
                    values = {
                        "sum": found.function,
                        "mean": average.function,
                        "mean_at": str(average.place or ""),
                        "rows": found.rows,
                        "elements": found.elements,
                        "sizes": sizes,
                    }
                    self._mixed.append(Fact(MIXED, found.place, None, values))

    def of(self, loss: Any) -> Fact | None:
        """Of a loss that is differentiated: that it is a sum, where it is more than twice the mean."""
        found = _first_true(self._known.get(loss) or [])
        if found is None or found.factor < 2:
            return None
        values = {
            "function": found.function,
            "factor": found.factor,
            "elements": found.elements,
        }
        return Fact(KIND, found.place, None, values)

    def factor(self, loss: Any) -> float:
        """Of a loss: what it is over the mean of its elements; 1 where nothing of that is known."""
        found = _first_true(self._known.get(loss) or [])
        return 1.0 if found is None else found.factor

    def _changed(
        self, function: str, found: _Sum, known: Any, tensors: list[Any], args: Any
    ) -> _Sum | None:
        others = [t for t in tensors if t is not known]
        if function in _ADD:
            size = known.detach().abs().reshape(())
            larger = [size >= t.detach().abs().reshape(()).to(size.device) for t in others]
            return replace(found, larger=(*found.larger, *larger))
        if others:
            return None if function in _DIVIDE else found  # by a count that is a tensor
        numbers = [a for a in args if isinstance(a, int | float)]
        if len(numbers) != 1 or not numbers[0]:
            return None
        by = abs(float(numbers[0]))
        return replace(
            found, factor=found.factor / by if function in _DIVIDE else found.factor * by
        )


def _first_true(candidates: list[_Sum]) -> _Sum | None:
    """The first that is the largest term of all sums that it went into; by one read."""
    conditions = [larger for one in candidates for larger in one.larger]
    values = torch.stack(conditions).tolist() if conditions else []
    for one in candidates:
        held, values = values[: len(one.larger)], values[len(one.larger) :]
        if all(held):
            return one
    return None


def _summed(function: str, args: Any, kwargs: Any) -> _Sum | None:
    if function == "sum":
        given = args[0] if args else kwargs.get("input")
        batch = isinstance(given, torch.Tensor) and given.ndim > 0 and given.shape[0] > 1
        if not batch:
            return None
        rows = int(given.shape[0])
        return _Sum(float(given.numel()), given.numel(), ".sum()", where(), rows=rows)
    if function not in LOSSES:
        return None
    call = loss_call(function, args, kwargs)
    if call is None or call.reduction != "sum":
        return None
    classes = function in ("cross_entropy", "nll_loss") and not call.target.is_floating_point()
    count = call.target.numel() if classes else call.output.numel()
    name = f'{function}(reduction="sum")'
    rows = int(call.output.shape[0]) if call.output.ndim else 0
    return _Sum(float(count), count, name, where(), rows=rows) if count > 1 else None


def _averaged(function: str, args: Any, kwargs: Any) -> _Average | None:
    if function == "mean":
        given = args[0] if args else kwargs.get("input")
        batch = isinstance(given, torch.Tensor) and given.ndim > 0 and given.shape[0] > 1
        return _Average(".mean()", where(), int(given.shape[0])) if batch else None
    if function not in LOSSES:
        return None
    call = loss_call(function, args, kwargs)
    if call is None or call.reduction != "mean" or not call.output.ndim or call.output.shape[0] < 2:
        return None
    return _Average(function, where(), int(call.output.shape[0]))
