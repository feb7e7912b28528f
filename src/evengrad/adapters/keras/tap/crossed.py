"""Two optimizers that each minimise the other's loss, in a step that TensorFlow has traced."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from evengrad.adapters.keras.facts.graphs import before, is_read
from evengrad.adapters.keras.facts.lines import line
from evengrad.adapters.keras.measure.update import unscaled
from evengrad.adapters.keras.tap.holders import Holders
from evengrad.adapters.keras.tap.listening import Applied
from evengrad.adapters.keras.tap.native import Differentiated
from evengrad.values.fact import Fact, Where

_MOST = 4  # losses that are compared
_THROUGH = ("Identity", "Cast", "ReadVariableOp")


@dataclass(slots=True, eq=False)
class _LossOf:
    """A loss and the weights that are moved along it. place: where it was differentiated."""

    target: Any
    made: list[Any]
    sources: list[Any]
    place: Where | None
    optimizer: Any = None


class LossesCrossed:
    """Compares what two losses of one step read: of a GAN's, the one that holds the real data is the judge's.

    A judge is a model that is given what the other one makes. Its own loss reads it on data that the other has
    no part in, too. Crossed are two losses, where the maker's weights are moved along one that does, and the
    judge's along one that does not; and the maker is lost where both are moved along the judge's.
    """

    def __init__(self) -> None:
        self._losses: list[_LossOf] = []

    def differentiated(self, event: Differentiated) -> None:
        """One loss."""
        sources = [v for v in event.sources if getattr(v, "trainable", False)]
        if sources and hasattr(event.target, "shape") and len(self._losses) < _MOST:
            made = before(event.target)
            if made:
                self._losses.append(_LossOf(event.target, made, sources, line()))

    def applied(self, event: Applied) -> Iterator[tuple[Any, Fact]]:
        """A step; told of where the other one has been made as well."""
        own = {id(v) for v in event.variables}
        for loss in self._losses:
            if own.issuperset(map(id, loss.sources)):
                loss.optimizer = loss.optimizer or event.optimizer
        known = [loss for loss in self._losses if loss.optimizer is not None]
        if len(known) != 2 or len(self._losses) != 2 or known[0].optimizer is known[1].optimizer:
            return
        self._losses = []
        for maker, judge in (known, known[::-1]):
            if not _is_of_judge(maker, judge):
                continue
            if maker.target is judge.target:
                yield maker.optimizer, _fact(maker, judge, "shared")
            elif _crossed(maker, judge):
                yield maker.optimizer, _fact(maker, judge, "swapped")
                yield judge.optimizer, _fact(judge, maker, "swapped")


def _is_of_judge(maker: _LossOf, judge: _LossOf) -> bool:
    """Whether what moves the maker reads the judge on data that the maker has no part in, too."""
    if {id(v) for v in maker.sources} & {id(v) for v in judge.sources}:
        return False
    apart, fed = _given(maker.made, judge.sources, maker.sources)
    return apart and fed and not _given(maker.made, maker.sources, judge.sources)[1]


def _crossed(maker: _LossOf, judge: _LossOf) -> bool:
    other_apart, other_fed = _given(judge.made, judge.sources, maker.sources)
    return other_fed and not other_apart


def _given(made: Sequence[Any], of: Sequence[Any], by: Sequence[Any]) -> tuple[bool, bool]:
    """Whether weights ``of`` meet values that ``by`` has no part in, and such that it has."""
    apart = fed = False
    for op in made:
        if op.type in _THROUGH or not any(_holds(t.op, of) for t in op.inputs):
            continue
        rest = [t for t in op.inputs if not _holds(t.op, of)]
        if not rest:
            continue
        behind = [found for t in rest for found in before(t)]
        if any(is_read(found, v) for found in behind for v in by):
            fed = True
        elif not any(is_read(found, v) for found in behind for v in of):
            apart = True  # its first layer, on data
    return apart, fed


def _holds(op: Any, variables: Sequence[Any]) -> bool:
    """Whether it is one of these weights, perhaps in another precision."""
    while op.type in ("Identity", "Cast") and op.inputs:
        op = op.inputs[0].op
    return any(is_read(op, v) for v in variables)


def _fact(one: _LossOf, other: _LossOf, how: str) -> Fact:
    whose, theirs = Holders(one.sources).shown, Holders(other.sources).shown
    values = {
        "optimizer": type(unscaled(one.optimizer)).__name__,
        "model": whose,
        "other": theirs,
        "backward": str(one.place or ""),
        "theirs": str(other.place or ""),
        "how": how,
    }
    return Fact("losses_crossed", one.place, None, values)
