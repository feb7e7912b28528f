"""Mistakes in a loop of the script's own: losses not scaled, gradients kept, shapes, normalisations unused."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np

from evengrad.adapters.common.patching import Patches
from evengrad.adapters.keras.facts.lines import line
from evengrad.adapters.keras.facts.scores import raw_in_graph
from evengrad.adapters.keras.facts.shapes import broadcasting
from evengrad.adapters.keras.facts.single import alone_fact
from evengrad.adapters.keras.facts.summed import KIND as SUMMED
from evengrad.adapters.keras.facts.summed import feels_scale, summed_by_tape
from evengrad.adapters.keras.facts.terms import mixed_terms
from evengrad.adapters.keras.measure.update import unscaled
from evengrad.adapters.keras.tap import native
from evengrad.adapters.keras.tap.accumulated import Accumulated
from evengrad.adapters.keras.tap.accumulators import VariableSums
from evengrad.adapters.keras.tap.batch_sums import BatchSums
from evengrad.adapters.keras.tap.by_hand import ByHand
from evengrad.adapters.keras.tap.called import CalledLoss
from evengrad.adapters.keras.tap.clipping import ClippedScaled
from evengrad.adapters.keras.tap.crossed import LossesCrossed
from evengrad.adapters.keras.tap.dropped import Dropped
from evengrad.adapters.keras.tap.left_out import LeftOut
from evengrad.adapters.keras.tap.listening import Applied, BatchNormCalled, Listening, LossScaled
from evengrad.adapters.keras.tap.native import Differentiated
from evengrad.adapters.keras.tap.pairs import EagerPairs
from evengrad.adapters.keras.tap.passes import Passes
from evengrad.adapters.keras.tap.policy import PolicyLosses
from evengrad.adapters.keras.tap.smothering import ClippedAway
from evengrad.adapters.keras.tap.summed import SummedGradients
from evengrad.adapters.keras.tap.unreached import Unreached
from evengrad.adapters.keras.tap.untracked import Untracked
from evengrad.values.fact import Fact, Where


class LoopFacts:
    """Listens to a training, and tells each mistake once, with the optimizer that it was seen of.

    Args:
        listening: to what.
        tell: given the optimizer and the fact.
        patches: to be undone at the end.

    Attributes:
        untracked: layers that models call and do not know of.
    """

    def __init__(
        self, listening: Listening, tell: Callable[[Any, Fact], None], patches: Patches
    ) -> None:
        self._tell = tell
        self._told: set[tuple[int, str]] = set()
        self._scaled: set[int] = set()
        self._norms: dict[int, tuple[Any, bool, Where | None]] = {}
        self._unused: list[tuple[Any, Where | None]] = []
        self._shapes: list[Fact] = []
        self._alone: list[tuple[Any, Where | None]] = []
        self._summed: list[Fact | None] = []
        self._backward: Where | None = None
        backend = keras.backend.backend()
        self._kept = Accumulated() if backend == "torch" else None
        self._dropped = Dropped(self._tell_last) if backend == "jax" else None
        self._last: Any = None
        self._clips, self._unreached = ClippedScaled(), Unreached(patches)
        self._smothered, self._crossed = ClippedAway(), LossesCrossed()
        self._variables = VariableSums(patches)
        self._batch_sums = BatchSums(patches)
        self.untracked = Untracked(patches)
        self._left_out = LeftOut(self._unreached.calls)
        self._pairs = EagerPairs(self._unreached.calls, patches)
        self._policies = PolicyLosses(patches)
        self._sums: Any = Passes() if backend == "torch" else SummedGradients(self._unreached.calls)
        listening.clipped.append(self._clips.clipped)
        listening.clipped.append(self._smothered.clipped)
        listening.normalised.append(self._normalised)
        listening.scaled.append(self._heard_scale)
        listening.differentiated.append(self._differentiated)
        listening.applied.append(self._applied)
        self._by_hand = ByHand(listening, patches)

    def _heard_scale(self, event: LossScaled) -> None:
        self._scaled.add(id(event.optimizer))
        self._clips.scaled(event)

    def _normalised(self, event: BatchNormCalled) -> None:
        layer = event.layer
        before = self._norms.get(id(layer))
        if event.alone:
            self._alone.append((layer, line()))
        used = event.training or (before is not None and before[1])
        if layer.trainable:
            place = before[2] if before else line()
            self._norms[id(layer)] = (layer, used, place)
            if self._dropped is not None and event.training:
                self._dropped.called(layer, place)

    def _differentiated(self, event: Differentiated) -> None:
        self._backward = line()
        if self._kept is not None:
            self._kept.backward()
        self._clips.differentiated(event)
        self._left_out.differentiated(event)
        self._unreached.differentiated(event)
        self._crossed.differentiated(event)
        self._variables.differentiated(event)
        self._sums.differentiated(event)
        reached = {
            id(v) for v, g in zip(event.sources, event.gradients, strict=False) if g is not None
        }
        for layer, used, place in self._norms.values():
            own = [v for v in layer.trainable_variables if id(v) in reached]
            if not used and (own or not event.sources) and _at_start(layer):
                self._unused.append((layer, place))
        self._norms.clear()
        if any(hasattr(source, "trainable") for source in event.sources):
            summed = summed_by_tape(event.target, self._backward)
            self._summed.append(summed or self._batch_sums.of(event.target))
        self._policies.differentiated(event.target)
        if hasattr(event.target, "shape"):
            judges = broadcasting, mixed_terms, raw_in_graph
            found = [judge(event.target) for judge in judges]
            self._shapes += [fact for fact in found if fact is not None]

    def _applied(self, event: Applied) -> None:
        optimizer = self._last = event.optimizer
        if self._unused:
            self._once(optimizer, _unused(self._unused))
            self._unused.clear()
        if self._alone:
            self._once(optimizer, alone_fact([x for x, _ in self._alone], self._alone[0][1]))
            self._alone.clear()
        found = (*self._shapes, *self._pairs.applied(), *self._policies.applied())
        for fact in (*found, *filter(None, self._summed[-1:])):
            if fact.kind != SUMMED or feels_scale(optimizer):
                self._once(optimizer, fact)
        self._shapes.clear()
        self._summed.clear()
        scale = _scale(optimizer)
        if scale != 1.0 and id(optimizer) not in self._scaled:
            self._once(optimizer, _unscaled(optimizer, scale, self._backward))
        self._scaled.discard(id(optimizer))
        if self._kept is not None:
            kept = self._kept.applied(optimizer, event.variables, self._backward)
            if kept is not None:
                self._once(optimizer, kept)
        clips = self._clips.applied(event, scale), self._smothered.applied(event, scale)
        for fact in (*clips[0], *clips[1], *self._sums.applied(event)):
            self._once(optimizer, fact)
        self._left_out.applied(event)
        self._unreached.applied(event)
        self._variables.applied(event)
        for fact in self.untracked.applied(event):
            self._once(optimizer, fact)
        for whose, fact in self._crossed.applied(event):
            self._once(whose, fact)

    @property
    def losses(self) -> list[CalledLoss]:
        """Called since the last step."""
        return self._unreached.calls.losses

    def ended(self) -> None:
        """The script is over, or what it does is to be told now."""
        found: Any = self._unreached.ended(), self._sums.ended(), self._variables.ended()
        found = (*found, self._left_out.ended())
        for optimizer, fact in (pair for one in found for pair in one):
            self._once(optimizer, fact)

    def called(self) -> None:
        """A compiled function was called from outside."""
        self._variables.called()

    def _tell_last(self, fact: Fact) -> None:
        if self._last is not None:
            self._once(self._last, fact)

    def _once(self, optimizer: Any, fact: Fact) -> None:
        if (id(optimizer), fact.kind) not in self._told:
            self._told.add((id(optimizer), fact.kind))
            self._tell(optimizer, fact)


def _at_start(layer: Any) -> bool:
    """Whether its moving statistics are those that it was made with: nobody has trained or loaded it."""
    with native.outside():
        mean, variance = (
            np.asarray(keras.ops.convert_to_numpy(v))
            for v in (layer.moving_mean, layer.moving_variance)
        )
    return bool((mean == 0).all() and (variance == 1).all())


def _unused(found: list[tuple[Any, Where | None]]) -> Fact:
    layers = list({id(layer): layer for layer, _ in found}.values())
    values = {
        "problem": "never",
        "layers": [layer.name for layer in layers],
        "momentum": float(layers[0].momentum),
    }
    return Fact("statistics_unused", found[0][1], None, values)


def _scale(optimizer: Any) -> float:
    """What it divides the gradients by."""
    if isinstance(optimizer, keras.optimizers.LossScaleOptimizer):
        return float(optimizer.initial_scale)
    return float(optimizer.loss_scale_factor or 1.0)


def _unscaled(optimizer: Any, scale: float, backward: Where | None) -> Fact:
    inner = unscaled(optimizer)
    values = {
        "optimizer": type(inner).__name__,
        "scaler": type(optimizer).__name__,
        "scale": scale,
        "step": str(line() or ""),
    }
    return Fact("loss_unscaled", backward, None, values)
