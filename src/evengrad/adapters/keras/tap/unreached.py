"""Weights that a loss is made of and that its gradient does not come to, since something cuts the way."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial, wraps
from typing import Any

import keras
import numpy as np

from evengrad.adapters.common.patching import Patches
from evengrad.adapters.common.source import where
from evengrad.adapters.keras import compat
from evengrad.adapters.keras.facts.cuts import GraphCut, cut_before
from evengrad.adapters.keras.facts.lines import line
from evengrad.adapters.keras.measure.update import unscaled
from evengrad.adapters.keras.tap import native
from evengrad.adapters.keras.tap.called import Calls
from evengrad.adapters.keras.tap.holders import Holders
from evengrad.adapters.keras.tap.listening import Applied
from evengrad.adapters.keras.tap.native import Differentiated
from evengrad.adapters.keras.tap.quiet import Unharmed
from evengrad.values.fact import Fact, Where

_FIRST = 10  # steps in which values that leave the graph are followed


@dataclass(slots=True, eq=False)
class _Lost:
    """Sources of one differentiation that got nothing.

    Attributes:
        variables: themselves.
        names: of their models, or of their layers where a model has others, too.
        values: of the first of them, as it was.
        cut: behind which they lie.
        backward: the line.
        whole: no source got anything.
        share: of all weights.
        steps: in which it was seen.
        optimizer: that was to move them.
    """

    variables: list[Any]
    names: str
    values: Any
    cut: GraphCut
    backward: Where | None
    whole: bool
    share: float
    steps: int = 1
    optimizer: Any = None


class Unreached:
    """Follows them from the loss to the step; ``ended`` gives those that no loss has reached.

    Args:
        patches: to be undone at the end.

    Attributes:
        calls: of models and losses since the last step.
    """

    def __init__(self, patches: Patches) -> None:
        self._lost: dict[tuple[int, ...], _Lost] = {}
        self._reached: set[int] = set()
        self._steps = 0
        self._quiet = Unharmed()
        self._left: deque[tuple[Any, Any, GraphCut]] = deque(maxlen=16)
        self.calls = Calls()
        self.calls.hear(patches)
        patches.wrap(keras.Model, "predict", self._predicting)
        for place, name, kind in native.cuts():
            patches.wrap(place, name, partial(self._cutting, kind))
            compat.leave_unconverted(vars(place)[name])

    def differentiated(self, event: Differentiated) -> None:
        """Which sources got nothing, though the loss is made of them."""
        pairs = list(zip(event.sources, event.gradients, strict=False))
        got = [v for v, g in pairs if g is not None]
        lost = [v for v, g in pairs if g is None and getattr(v, "trainable", False)]
        self._reached |= {id(v) for v in got}
        key = tuple(id(v) for v in lost)
        if not lost or isinstance(event.target, list | tuple | dict):
            return
        if key in self._lost:
            self._lost[key].steps += native.run_by_host()
            return
        cut = cut_before(event.target, lost) or self._cut_by_hand(lost)
        if cut is not None:
            share = _size(lost) / _size([*got, *lost])
            names, values = _names(lost), _values(lost[0])
            self._lost[key] = _Lost(lost, names, values, cut, line(), not got, share)

    def applied(self, event: Applied) -> None:
        """Whose they are."""
        own = {id(v) for v, g in zip(event.variables, event.gradients, strict=False) if g is None}
        if keras.backend.backend() == "torch" and self._steps < _FIRST:
            self._quiet(self._by_values, event)
        for lost in self._lost.values():
            if own.issuperset(map(id, lost.variables)):
                lost.optimizer = lost.optimizer or event.optimizer
        self._steps += 1
        self._left.clear()
        self.calls.clear()

    def ended(self) -> Iterator[tuple[Any, Fact]]:
        """With the optimizer that was to move them."""
        for lost in self._lost.values():
            reached = self._reached.intersection(map(id, lost.variables))
            moved = not np.array_equal(lost.values, _values(lost.variables[0]))
            if lost.optimizer is not None and not reached and not moved:
                yield lost.optimizer, _fact(lost)

    # --- run by the host: values that leave the graph and come back ----------------------------------

    def _cut_by_hand(self, lost: list[Any]) -> GraphCut | None:
        ids = {id(v) for v in lost}
        for model, value, cut in self._left:
            own = {id(v) for v in model.trainable_variables}
            if own and own <= ids and self._comes_back(value):
                return cut
        return None

    def _comes_back(self, value: Any) -> bool:
        """Into a model or a loss, as it is or made a tensor again."""
        return any(leaf is value or _equal(leaf, value) for leaf in self._given())

    def _given(self) -> list[Any]:
        """What models and losses were given since the last step."""
        given = [c.inputs for c in self.calls.models]
        given += [loss.outputs for loss in self.calls.losses]
        return list(keras.tree.flatten(given))

    def _by_values(self, event: Applied) -> None:
        """PyTorch, whose differentiation does not tell its sources: models whose output comes back without its
        gradient, and whose weights have none at the step.
        """
        pairs = list(zip(event.variables, event.gradients, strict=False))
        got, lost = [v for v, g in pairs if g is not None], [v for v, g in pairs if g is None]
        self._reached |= {id(v) for v in got}
        ids = {id(v) for v in lost}
        for called in self.calls.models:
            own = called.model.trainable_variables
            key = tuple(id(v) for v in own)
            if key in self._lost:
                self._lost[key].steps += 1
            elif own and ids.issuperset(key) and self._is_cut(called.outputs):
                named = (cut for model, _, cut in self._left if model is called.model)
                share = _size(own) / _size([*got, *lost])
                names, values = _names(own), _values(own[0])
                cut = next(named, GraphCut("", None))
                self._lost[key] = _Lost(own, names, values, cut, line(), not got, share)

    def _is_cut(self, outputs: Any) -> bool:
        """Whether a model's output is given to another or to a loss as a value without a gradient alone."""
        made = [
            leaf for leaf in keras.tree.flatten(outputs) if getattr(leaf, "requires_grad", False)
        ]
        given = self._given()
        if any(
            getattr(leaf, "grad_fn", None) is not None and _equal(leaf, m)
            for leaf in given
            for m in made
        ):
            return False
        return any(_equal(leaf, m) for leaf in given for m in made)

    def _maker(self, value: Any) -> Any:
        for called in reversed(self.calls.models):
            if any(leaf is value for leaf in keras.tree.flatten(called.outputs)):
                return called.model
        return None

    def _cutting(self, kind: str, original: Any) -> Any:
        @wraps(original)
        def cut(value: Any, *args: Any, **kwargs: Any) -> Any:
            found = original(value, *args, **kwargs)
            if self._steps < _FIRST:
                self._quiet(self._leaving, kind, value, found)
            return found

        return cut

    def _predicting(self, original: Any) -> Any:
        @wraps(original)
        def predict(model: Any, *args: Any, **kwargs: Any) -> Any:
            found = original(model, *args, **kwargs)
            if self._steps < _FIRST:
                self._quiet(self._leave, model, found, "predict")
            return found

        return predict

    def _leaving(self, kind: str, value: Any, found: Any) -> None:
        model = self._maker(value)
        if model is not None:
            self._leave(model, found, kind)

    def _leave(self, model: Any, found: Any, kind: str) -> None:
        self._left.append((model, found, GraphCut(kind, where())))


def _equal(one: Any, other: Any) -> bool:
    """Whether two arrays or tensors hold the same values, more than one."""
    shapes = [tuple(getattr(value, "shape", ())) for value in (one, other)]
    if shapes[0] != shapes[1] or not shapes[0] or np.prod(shapes[0]) < 2:
        return False
    if not all(native.has_value(value) for value in (one, other)):
        return False
    first, second = (np.asarray(keras.ops.convert_to_numpy(value)) for value in (one, other))
    return bool(np.array_equal(first, second))


def _size(variables: list[Any]) -> int:
    return max(sum(int(np.prod(tuple(v.shape))) for v in variables), 1)


def _values(variable: Any) -> Any:
    with native.outside():
        return np.array(keras.ops.convert_to_numpy(variable.value))


def _names(variables: list[Any]) -> str:
    """Of the models that they make up, or of their layers in a model that has more."""
    holders, own = Holders(variables), {id(v) for v in variables}
    if all(id(v) in own for v in holders.variables if v.trainable):
        return holders.shown
    layers = holders.layer_of()
    found = (layers[id(v)].name for v in variables if id(v) in layers)
    return ", ".join(dict.fromkeys(found)) or holders.shown


def _fact(lost: _Lost) -> Fact:
    inner = unscaled(lost.optimizer)
    values = {
        "model": lost.names,
        "optimizer": type(inner).__name__,
        "none": True,
        "kind": lost.cut.kind,
        "cut": str(lost.cut.place or ""),
        "steps": lost.steps,
        "backward": str(lost.backward or ""),
        "part": not lost.whole,
        "share": lost.share,
    }
    return Fact("weights_unreached", lost.cut.place or lost.backward, None, values)
