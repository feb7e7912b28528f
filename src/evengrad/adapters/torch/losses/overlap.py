"""Raw scores where a loss by hand reads probabilities: in an overlap (Dice), under a clamped logarithm."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import torch

from evengrad.adapters.common.source import where
from evengrad.adapters.torch.compat import tensor_table, tree_leaves
from evengrad.adapters.torch.losses.given import readable
from evengrad.values.fact import Fact, Where

KIND = "scores_raw"
_SLACK = 1e-3  # more than any rounding of a probability
_SHARE = 0.1  # of scores that a clamp takes the gradient from (a choice)
_MULTIPLY = frozenset(["mul", "multiply", "__mul__", "__rmul__"])
_ADD = frozenset(
    ["add", "__add__", "__radd__", "sub", "__sub__", "__rsub__", "rsub", "__iadd__", "add_"]
)
_DIVIDE = frozenset(["div", "true_divide", "__truediv__", "divide"])
_REDUCE = frozenset(["sum", "mean"])
_CLAMP = frozenset(["clamp", "clip", "clamp_min"])
_LOG = frozenset(["log", "log2"])
_FOLLOWED = _MULTIPLY | _ADD | _DIVIDE | _REDUCE | _CLAMP | _LOG

_Role = Literal["products", "overlap", "sides", "total", "clamped"]


@dataclass(frozen=True, slots=True)
class OverlapMark:
    """What a tensor is of the scores with this key: their products with a mask, the sum of these; the scores
    added to the mask, a sum with the sum of the scores in it; the scores clamped to where probabilities lie.
    """

    role: _Role
    key: tuple[int, int]
    place: Where | None = None
    low: float = 0.0
    high: float = 0.0
    share: float = 0.0


class Overlaps:
    """Follows scores through the arithmetic of such a loss."""

    def __init__(self) -> None:
        self._known = tensor_table()

    def concerns(self, function: str) -> bool:
        """Whether a call by that name is to be followed."""
        return function in _FOLLOWED

    def follow(self, function: str, args: Any, kwargs: Any, result: Any) -> Fact | None:
        """A call that was made: what it shows where the loss reads scores for probabilities."""
        if not isinstance(result, torch.Tensor) or not result.requires_grad:
            return None
        tensors = [t for t in tree_leaves((args, kwargs)) if isinstance(t, torch.Tensor)]
        marks = [mark for t in tensors if (mark := self._known.get(t)) is not None]
        if function in _DIVIDE and len(tensors) == 2:
            found = _quotient(*map(self._known.get, tensors))
            if found is not None:
                return found
        if function in _LOG:
            return next((_fact("clamped", m) for m in marks if m.role == "clamped"), None)
        mark = _after(function, tensors, marks, args, kwargs)
        if mark is not None:
            self._known[result] = mark
        return None


def _quotient(over: OverlapMark | None, under: OverlapMark | None) -> Fact | None:
    if over is None or under is None or over.role != "overlap" or under.role != "total":
        return None
    return _fact("overlap", over) if over.key == under.key else None


def _fact(how: str, mark: OverlapMark) -> Fact:
    values = {"how": how, "low": mark.low, "high": mark.high, "share": mark.share}
    return Fact(KIND, mark.place, None, values)


def _after(
    function: str, tensors: list[Any], marks: list[OverlapMark], args: Any, kwargs: Any
) -> OverlapMark | None:
    total = next((m for m in marks if m.role == "total"), None)
    if function in _REDUCE:
        if marks:
            roles: dict[_Role, _Role] = {
                "products": "overlap",
                "sides": "total",
                "overlap": "overlap",
            }
            role = roles.get(marks[0].role, "total" if marks[0].role == "total" else None)
            return None if role is None else _turned(marks[0], role)
        return (
            OverlapMark("total", _key(tensors[0])) if tensors and tensors[0].numel() > 1 else None
        )
    if function in _MULTIPLY and len(tensors) == 2 and not marks:
        return _product(tensors)
    if function in _ADD and len(tensors) == 2 and not marks:
        made = [t for t in tensors if t.requires_grad]
        same = tensors[0].shape == tensors[1].shape and tensors[0].numel() > 1
        return OverlapMark("sides", _key(made[0])) if len(made) == 1 and same else None
    if function in _CLAMP and not marks:
        return _clamped(tensors[0], args, kwargs) if tensors else None
    if total is not None:
        return total
    return marks[0] if marks and (len(tensors) == 1 or marks[0].role == "clamped") else None


def _turned(mark: OverlapMark, role: _Role) -> OverlapMark:
    return OverlapMark(role, mark.key, mark.place, mark.low, mark.high, mark.share)


def _product(tensors: list[Any]) -> OverlapMark | None:
    """Scores below 0 times a mask of zeros and ones."""
    made = [t for t in tensors if t.requires_grad and t.grad_fn is not None]
    given = [t for t in tensors if not t.requires_grad]
    if len(made) != 1 or len(given) != 1 or made[0].shape != given[0].shape:
        return None
    scores, mask = made[0].detach(), given[0]
    if (
        scores.numel() < 2
        or not readable(made[0], mask)
        or not bool(((mask == 0) | (mask == 1)).all())
    ):
        return None
    low, high = float(scores.min()), float(scores.max())
    return OverlapMark("products", _key(made[0]), where(), low, high) if low < -_SLACK else None


def _clamped(scores: Any, args: Any, kwargs: Any) -> OverlapMark | None:
    """Values that lie beyond 0 and 1 clamped to just between them."""
    bounds = [*args[1:3], kwargs.get("min"), kwargs.get("max")]
    known = [b for b in bounds if isinstance(b, int | float)]
    if (
        len(known) != 2
        or not 0 <= known[0] < 0.05
        or not 0.95 < known[1] <= 1
        or not readable(scores)
    ):
        return None
    given = scores.detach().float()
    share = float(((given < -_SLACK) | (given > 1 + _SLACK)).float().mean())
    if share < _SHARE:
        return None
    return OverlapMark(
        "clamped", _key(scores), where(), float(given.min()), float(given.max()), share
    )


def _key(tensor: Any) -> tuple[int, int]:
    """The same of all views of the same values."""
    return int(tensor.data_ptr()), int(tensor.numel())
