"""The log-probability of sampled actions times their reward, and which way the loss moves it."""

from __future__ import annotations

from typing import Any

import torch

from evengrad.adapters.common.rewards import reward_in
from evengrad.adapters.common.source import Spot, spot
from evengrad.adapters.torch.compat import tree_leaves
from evengrad.values.fact import Fact

KIND = "policy_reversed"
_MULTIPLY = frozenset(["mul", "multiply", "__mul__", "__rmul__"])
_MOST = 16  # products of a step that are looked at
_LONGEST = 16  # nodes of a graph
_CHOSEN = frozenset(["Gather", "Index", "Select", "TakeAlongDim"])
_LOGARITHM = frozenset(["Log", "LogSoftmax", "Log2"])
_DISTANCE = frozenset(
    [
        "NllLoss",
        "NllLoss2D",
        "CrossEntropyLoss",
        "BinaryCrossEntropyWithLogits",
        "BinaryCrossEntropy",
    ]
)


class Policies:
    """Follows such products to the loss that is differentiated."""

    def __init__(self) -> None:
        self._products: list[tuple[Any, int, str, Spot]] = []

    def concerns(self, function: str) -> bool:
        """Whether a call by that name can make such a product."""
        return function in _MULTIPLY

    def follow(self, args: Any, kwargs: Any, result: Any) -> None:
        """A product was made."""
        tensors = [t for t in tree_leaves((args, kwargs)) if isinstance(t, torch.Tensor)]
        made = [t for t in tensors if t.grad_fn is not None]
        if len(made) != 1 or any(t.requires_grad for t in tensors if t is not made[0]):
            return
        raises = _raises(made[0])
        place = spot() if raises and len(self._products) < _MOST else None
        found = None if place is None else reward_in(place.where().code, place.code.co_filename)
        if found is not None and place is not None:
            self._products.append((result, raises * found.sign, found.reward, place))

    def of(self, loss: Any) -> Fact | None:
        """Of a loss that is about to be differentiated: a product that it makes smaller, not larger."""
        products, self._products = self._products, []
        if not products or not isinstance(loss, torch.Tensor) or loss.numel() != 1:
            return None
        found = torch.autograd.grad(
            loss, [p[0] for p in products], retain_graph=True, allow_unused=True
        )
        for gradient, (_, sign, name, place) in zip(found, products, strict=True):
            if gradient is not None and bool((gradient * sign >= 0).all()) and bool(gradient.any()):
                return Fact(KIND, place.where(), None, {"reward": name})
        return None


def _raises(score: Any) -> int:
    """1 of the log-probability of what was chosen, -1 of its negative, 0 of any other tensor."""
    node, sign, chosen = score.grad_fn, 1, False
    for _ in range(_LONGEST):
        name, before = _name(node), _before(node)
        if name in _DISTANCE:
            return -sign
        if name in _LOGARITHM:
            return sign if chosen or _is_chosen(before) else 0
        if name == "Sub" and len(before) == 2 and _name(before[1]) == "Logsumexp":
            return sign if chosen else 0
        if not before or name not in _MONOTONE:
            return 0
        if name == "Neg" and _name(before[0]) == "Pow":
            return sign  # of a normal distribution
        sign *= _slope(node, name)
        chosen = chosen or name in _CHOSEN
        node = before[0]
    return 0


def _slope(node: Any, name: str) -> int:
    """How a node grows with its first operand that is trained; 0 where it is not known."""
    first = node.next_functions[0][0] is not None
    if name == "Neg" or (name == "Sub" and not first):
        return -1
    return 0 if name == "Div" and not first else 1


def _name(node: Any) -> str:
    return type(node).__name__.rstrip("0123456789").removesuffix("Backward")


def _before(node: Any) -> list[Any]:
    """What a node's operands that are trained were made by, seen through changes of shape."""
    return [_behind(n) for n, _ in getattr(node, "next_functions", ()) if n is not None]


def _behind(node: Any) -> Any:
    while _name(node) in _VIEWS and node.next_functions and node.next_functions[0][0] is not None:
        node = node.next_functions[0][0]
    return node


def _is_chosen(before: list[Any]) -> bool:
    """Whether the logarithm is of probabilities that an index has chosen."""
    return any(
        _name(n) in _CHOSEN or (_name(n) in _MONOTONE and _is_chosen(_before(n)[:1]))
        for n in before
    )


_VIEWS = {
    "Squeeze",
    "Unsqueeze",
    "View",
    "UnsafeView",
    "Reshape",
    "ReshapeAlias",
    "Alias",
    "Clone",
    "ToCopy",
    "Expand",
    "Unbind",
}
_MONOTONE = (
    _CHOSEN
    | _VIEWS
    | {"Stack", "Cat", "Sum", "Mean", "Slice", "Clamp", "Exp", "Neg", "Sub", "Add", "Div"}
)
