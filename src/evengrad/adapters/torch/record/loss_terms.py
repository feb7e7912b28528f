"""Which loss functions the loss that a script backpropagates is made of, and their own values."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

from evengrad.adapters.common.sessions import LossSession

LOSSES = {
    "cross_entropy": "crossentropy",
    "nll_loss": "crossentropy",
    "binary_cross_entropy": "binary_crossentropy",
    "binary_cross_entropy_with_logits": "binary_crossentropy",
    "mse_loss": "mse",
    "l1_loss": "mae",
}
"""Of ``torch.nn.functional``, by the names that a session knows them by."""
_PLAIN: dict[str, Any] = {
    "reduction": "mean",
    "weight": None,
    "pos_weight": None,
    "label_smoothing": 0.0,
    "size_average": None,
    "reduce": None,
}
"""With these a function's value is a mean over examples, of which the constant baseline is known."""
_MARK = "evengrad_loss_term"
_FARTHEST = 4096
"""Nodes of the autograd graph that are searched for loss functions."""


@dataclass(frozen=True, slots=True)
class LossTerm:
    """A call of a loss function. own: its plain mean over the batch. number: of the call."""

    kind: str
    own: float
    targets: Any
    number: int


class LossTerms:
    """Tells a session of each backward pass, and of the loss functions in it. on: while the training runs."""

    def __init__(self, session: LossSession) -> None:
        self.on = False
        self._session = session
        self._calls = 0
        self._scaled: tuple[Any, Any] = (
            None,
            None,
        )  # by a GradScaler: what came of it, and from what
        self._backwards = 0
        self._others = False

    def made(self, original: Any, given: dict[str, Any], value: Any) -> None:
        """``value`` came of a loss function. Its node in the graph is marked, which keeps nothing alive."""
        if value.grad_fn is None:
            return
        self._calls += 1
        kind, targets = _targets(original.__name__, given)
        own = float(_own(original, given, value))
        value.grad_fn.metadata[_MARK] = LossTerm(kind, own, targets, self._calls)

    def scaling(self, original: Any) -> Callable[..., Any]:
        """Instead of ``GradScaler.scale``."""

        def scale(scaler: Any, outputs: Any) -> Any:
            found = original(scaler, outputs)
            self._scaled = found, outputs
            return found

        return scale

    def backward(self, original: Any) -> Callable[..., Any]:
        """Instead of ``torch.autograd.backward``, which ``Tensor.backward`` calls, too."""

        def backward(tensors: Any, *args: Any, **kwargs: Any) -> Any:
            if self.on:
                self.tell(tensors)
            return original(tensors, *args, **kwargs)

        return backward

    def stepped(self, *, ours: bool) -> None:
        """An optimizer made a step. Losses that another one's step followed are averaged with those of ours: a
        second model's, an adversary's.
        """
        self._others = self._others or not ours
        if ours:
            if self._others and self._backwards > 1:
                self._session.backpropagated(math.nan, ())
            self._backwards, self._others = 0, False

    def tell(self, tensors: Any) -> None:
        """A backward pass begins."""
        self._backwards += 1
        single = isinstance(tensors, tuple | list) and len(tensors) == 1
        loss = tensors[0] if single else tensors
        if not isinstance(loss, torch.Tensor) or loss.numel() != 1:
            self._session.backpropagated(math.nan, ())
            return
        terms = _terms(loss)
        for place, term in enumerate(terms):
            self._session.targets(term.kind, term.targets, place)
        scaled, unscaled = self._scaled
        value = float((unscaled if loss is scaled else loss).detach())
        self._scaled = (None, None)
        self._session.backpropagated(value, tuple(term.own for term in terms))


def _terms(loss: Any) -> list[LossTerm]:
    """The loss functions in the graph of a loss, in the order of their calls."""
    found: dict[int, LossTerm] = {}
    seen: set[Any] = set()
    waiting = deque([loss.grad_fn])
    while waiting and len(seen) < _FARTHEST:
        node = waiting.popleft()
        if node is None or node in seen:
            continue
        seen.add(node)
        term = node.metadata.get(_MARK)
        if term is None:
            waiting.extend(below for below, _ in node.next_functions)
        else:
            found[term.number] = term
    return [found[number] for number in sorted(found)]


def _own(original: Any, given: dict[str, Any], value: Any) -> Any:
    """The plain mean: of the function without reduction to a sum, weights and smoothing."""
    changed = {k: plain for k, plain in _PLAIN.items() if k in given and not _is(given[k], plain)}
    if not changed:
        return value.detach()
    with torch.no_grad():
        return original(**given | changed)


def _is(value: Any, plain: Any) -> bool:
    return value is plain or (isinstance(value, str | float | int) and value == plain)


def _targets(name: str, given: dict[str, Any]) -> tuple[str, Any]:
    """The kind of loss and its targets as an array, classes last, without those that are ignored."""
    kind, target = LOSSES[name], given["target"].detach()
    if kind == "crossentropy" and target.is_floating_point():
        if target.ndim < 2:
            return "other", target.cpu().numpy()
        target = target.movedim(1, -1)
    elif kind == "crossentropy":
        target = target[target != given.get("ignore_index", -100)]
    return (
        kind,
        target.float().cpu().numpy() if target.is_floating_point() else target.cpu().numpy(),
    )
