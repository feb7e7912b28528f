"""What the losses of a model are given, from one batch: its own forward pass and loss, computed once."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import keras

from evengrad.adapters.keras import compat
from evengrad.adapters.keras.backend.state import untouched
from evengrad.adapters.keras.facts.calls import LossHeard, NormHeard, hearing_losses
from evengrad.adapters.keras.facts.classes import judge_classes
from evengrad.adapters.keras.facts.heads import judge_head
from evengrad.adapters.keras.facts.outputs import dominated
from evengrad.adapters.keras.facts.scores import judge_scores
from evengrad.adapters.keras.facts.single import alone_fact, is_alone
from evengrad.adapters.keras.facts.summed import KIND as SUMMED
from evengrad.adapters.keras.facts.summed import HeardSums
from evengrad.adapters.keras.facts.targets import judge_targets
from evengrad.adapters.keras.facts.texts import judge_lengths
from evengrad.values.fact import Fact
from evengrad.values.probe import Probe

_JUDGES = {
    "targets_outside": judge_targets,
    "one_unit_softmax": judge_head,
    "targets_too_long": judge_lengths,
    "shapes_broadcast": judge_classes,
}


class HeardLosses:
    """Judges each call of a loss; ``facts`` are one a kind and line."""

    def __init__(self) -> None:
        self._found: dict[Any, Fact] = {}

    @property
    def facts(self) -> tuple[Fact, ...]:
        """So far. Of a loss of the user's own, what a loss of Keras in it says is the better word."""
        own = [f for f in self._found.values() if f.values.get("kind") != "reach"]
        told = {f.kind for f in own}
        return (*own, *(f for f in self._found.values() if f not in own and f.kind not in told))

    def __call__(self, call: LossHeard) -> None:
        """One more call."""
        for kind, judge in _JUDGES.items():
            values = judge(call)
            if values is not None:
                self._found.setdefault((kind, call.where), Fact(kind, call.where, None, values))


def facts_of(model: Any, batch: Any) -> tuple[Fact, ...]:
    """Of a compiled model on (x, y, sample_weight); nothing of it is changed. Empty where the batch cannot be
    given to it.
    """
    heard, calls, sums = HeardLosses(), list[LossHeard](), HeardSums()
    alone: list[NormHeard] = []

    def told(call: LossHeard) -> None:
        calls.append(call)
        heard(call)

    def normed(call: NormHeard) -> None:
        if is_alone(call.layer, call.inputs, call.training):
            alone.append(call)

    try:
        parts = keras.utils.unpack_x_y_sample_weight(tuple(batch))
        x, y, weight = (keras.tree.map_structure(_tensor, part) for part in parts)
        with untouched(model), keras.StatelessScope():
            with hearing_losses(told, sums, normed=normed):
                total = compat.compute_loss(model, x, y, model(x, training=True), weight)
            raw = [judge_scores(call) for call in calls]
        more = [dominated(model, calls), sums.of(total), *raw]
    except Exception:  # what the loss cannot take was heard before it was called
        return heard.facts
    if alone:
        more.append(alone_fact([call.layer for call in alone], alone[0].where))
    return (*heard.facts, *(fact for fact in more if fact is not None))


def with_facts(probe: Probe, facts: tuple[Fact, ...]) -> Probe:
    """A probe of that batch, with what was heard of its losses."""
    summed = [float(fact.values["factor"]) for fact in facts if fact.kind == SUMMED]
    loss = replace(probe.loss, summed=summed[0]) if summed else probe.loss
    return replace(probe, facts=(*probe.facts, *facts), loss=loss)


def _tensor(value: Any) -> Any:
    return None if value is None else keras.ops.convert_to_tensor(value)
