"""The losses that a loss is the sum of, and the gradient of each at the weights that they share."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch

from evengrad.adapters.common.source import where
from evengrad.adapters.torch.compat import tensor_table, tree_leaves
from evengrad.adapters.torch.ops.kinds import LOSSES
from evengrad.adapters.torch.statistics.eager import total_norm
from evengrad.adapters.torch.statistics.ledger import together
from evengrad.values.fact import Fact, Where

KIND = "output_dominates"
LOST = 1e4
"""By so much another loss's gradient is larger: less than 4 digits of a float32 sum are left (a choice)."""
_LEAST = 1e-3  # of a loss that is still of any use (a choice)
_ADD = frozenset(["add", "__add__", "__radd__", "__iadd__", "add_"])
_SCALE = frozenset(["mul", "__mul__", "__rmul__", "multiply", "div", "true_divide", "__truediv__"])


@dataclass(frozen=True, slots=True)
class SumTerm:
    """One loss function's value in a sum. weighted: the script multiplies it by a number of its own."""

    tensor: Any
    name: str
    place: Where | None
    weighted: bool = False


class Terms:
    """Follows the values of loss functions into the sum that is differentiated."""

    def __init__(self) -> None:
        self._made = tensor_table()  # without the tensor itself: it would never be let go
        self._sums = tensor_table()

    def follow(self, function: str, args: Any, kwargs: Any, result: Any) -> None:
        """A call that was made."""
        if not isinstance(result, torch.Tensor) or result.numel() != 1 or not result.requires_grad:
            return
        if function in LOSSES:
            self._made[result] = function, where()
        elif function in _ADD | _SCALE:
            tensors = [t for t in tree_leaves((args, kwargs)) if isinstance(t, torch.Tensor)]
            terms = [term for tensor in tensors for term in self.of(tensor)]
            if function in _SCALE and any(isinstance(a, int | float) for a in args):
                terms = [replace(term, weighted=True) for term in terms]
            if terms:
                self._sums[result] = terms

    def of(self, loss: Any) -> list[SumTerm]:
        """Of a sum, or of one of them."""
        if loss in self._made:
            return [SumTerm(loss, *self._made[loss])]
        return list(self._sums.get(loss) or [])


def dominated(terms: Sequence[SumTerm], parameters: Sequence[Any]) -> Fact | None:
    """A sum in which one loss's gradient, at the weights that both reach, is lost beside another one's."""
    if len(terms) < 2:
        return None
    gradients = [
        torch.autograd.grad(term.tensor, parameters, retain_graph=True, allow_unused=True)
        for term in terms
    ]
    norms = [_norms(found) for found in gradients]
    totals = [math.hypot(*found) for found in norms]
    if not all(math.isfinite(total) for total in totals):
        return None
    large = max(range(len(terms)), key=lambda i: totals[i])
    lost = [i for i in range(len(terms)) if i != large and not terms[i].weighted]
    lost = [i for i in lost if _hidden(norms[i], norms[large])]
    if not lost:
        return None
    small = min(lost, key=lambda i: totals[i])
    shared = [i for i, g in enumerate(norms[small]) if g and norms[large][i]]
    sizes = [math.hypot(*(norms[i][s] for s in shared)) for i in (large, small)]
    values = {
        "large": _told(terms[large], sizes[0]),
        "small": _told(terms[small], sizes[1]),
        "factor": sizes[0] / sizes[1],
        "shared": len(shared),
    }
    return Fact(KIND, terms[large].place, 0, values)


def dwarfed(terms: Sequence[SumTerm]) -> Fact | None:
    """The same by the values alone, without a backward pass of ours: a squared error's gradient grows as the
    root of its value. None where the two share no weights.
    """
    values = [abs(float(term.tensor.detach())) for term in terms]
    if len(terms) < 2 or not all(math.isfinite(value) for value in values):
        return None
    large = max(range(len(terms)), key=lambda i: values[i])
    own = [i for i in range(len(terms)) if i != large and not terms[i].weighted]
    lost = [i for i in own if _LEAST < values[i] < values[large] / LOST**2]
    reached = _leaves(terms[large].tensor) if lost else set()
    lost = [i for i in lost if reached & _leaves(terms[i].tensor)]
    if not lost:
        return None
    small = min(lost, key=lambda i: values[i])
    told = {"large": _told(terms[large], None), "small": _told(terms[small], None)}
    return Fact(KIND, terms[large].place, 0, told | {"factor": values[large] / values[small]})


def _leaves(tensor: Any) -> set[Any]:
    """The nodes of the weights that a tensor was made of."""
    seen: set[Any] = set()
    waiting = [tensor.grad_fn]
    while waiting:
        node = waiting.pop()
        if node is not None and node not in seen:
            seen.add(node)
            waiting += [before for before, _ in node.next_functions]
    return {node for node in seen if hasattr(node, "variable")}


def _hidden(small: list[float], large: list[float]) -> bool:
    shared = [(s, g) for s, g in zip(small, large, strict=True) if s and g]
    if not shared:
        return False
    own, other = (math.hypot(*side) for side in zip(*shared, strict=True))
    return own * LOST < other


def _told(term: SumTerm, norm: float | None) -> dict[str, Any]:
    return {
        "function": term.name,
        "place": "" if term.place is None else str(term.place),
        "value": float(term.tensor.detach()),
        "gradient": norm,
    }


def _norms(gradients: Sequence[Any]) -> list[float]:
    """Of each, 0 for none."""
    known = iter(together([total_norm(g) for g in gradients if g is not None]))
    return [0.0 if g is None else next(known) for g in gradients]
