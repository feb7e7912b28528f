"""A Probe from what a loop of the script's own was heard to do up to an optimizer's first step."""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from typing import Any

import keras

from evengrad.adapters.keras import compat
from evengrad.adapters.keras.backend.differentiate import array
from evengrad.adapters.keras.measure.measure import input_names
from evengrad.adapters.keras.measure.update import coming_update, describe, loss_scale
from evengrad.adapters.keras.probe import probe
from evengrad.adapters.keras.spec.specify import versions
from evengrad.adapters.keras.tap import native
from evengrad.adapters.keras.tap.called import CalledLoss, CalledModel, Calls
from evengrad.adapters.keras.tap.holders import Holders
from evengrad.adapters.keras.tap.listening import Applied, LossScaled
from evengrad.adapters.keras.tap.native import Differentiated
from evengrad.adapters.keras.trace.losses import Reading, reading_of, targets
from evengrad.adapters.keras.trace.weights import fan_in, names_of
from evengrad.values.message import msg
from evengrad.values.probe import Input, Loss, Probe, Weight
from evengrad.values.summary import column_rms, summarise
from evengrad.values.wording import brief

log = logging.getLogger("evengrad")
_UNSEEN = (
    msg(
        "the operations between the inputs and the loss could not be measured: the loop is the script's own"
    ),
    msg("the largest stable learning rate is not known: the loop's loss cannot be computed again"),
)


@dataclass(slots=True, eq=False)
class Assembly:
    """What was heard of one optimizer's first step.

    Attributes:
        event: the step.
        differentiated: what gave its gradients, None where it was not seen.
        scaled: the scaling of that loss, None where there was none.
        calls: of models and losses before it.
        precise: as ``Session.precise``.
    """

    event: Applied
    differentiated: Differentiated | None
    scaled: LossScaled | None
    calls: Calls
    precise: bool

    def probe(self) -> Probe:
        """All of it as a value."""
        event = self.event
        holders = Holders(event.variables)
        whole = self._whole(holders)
        if whole is not None:
            return whole
        divided = loss_scale(event.optimizer)
        notes: list[str] = list(_UNSEEN)
        called = self._called()
        return Probe(
            frontend="keras",
            backend=keras.backend.backend(),
            versions=versions(),
            model=holders.shown,
            batch_size=_batch_size(called),
            inputs=() if called is None else _inputs(called),
            outputs=(),
            operations=(),
            weights=self._weights(holders, divided, notes),
            loss=self._loss(),
            optimizer=describe(event.optimizer),
            notes=(*(n for n in notes if n), *compat.notes()),
            loss_scale=divided,
        )

    def _whole(self, holders: Holders) -> Probe | None:
        """All that a probe of the model measures, where one call of it and one loss are the whole step."""
        target = self._target()
        only = None if target is None else self._only_loss(native.number(target))
        called = self._called()
        if only is None or called is None or len(self.calls.models) != 1:
            return None
        made, read = keras.tree.flatten(called.outputs), keras.tree.flatten(only.outputs)
        parts = [called.inputs, only.targets, only.weight]
        leaves = [v for v in keras.tree.flatten(parts) if v is not None]
        if [id(v) for v in made] != [id(v) for v in read] or not all(map(native.has_value, leaves)):
            return None
        try:
            found = probe(
                called.model,
                loss=only.loss,
                batch=tuple(parts),
                optimizer=self.event.optimizer,
                rate=True,
                precise=self.precise,
            )
        except Exception as error:  # what was heard is less, and stands
            log.info("the model of a loop is not probed: %s", error)
            return None
        heard = native.number(target)
        same = abs(found.loss.value - heard) <= 1e-3 * abs(heard)
        return replace(found, model=holders.shown) if same or called.training is True else None

    def _target(self) -> Any:
        """The loss, before it was scaled."""
        if self.scaled is not None:
            return self.scaled.loss
        return None if self.differentiated is None else self.differentiated.target

    def _called(self) -> CalledModel | None:
        """The call that the loss hangs on first: of a model that holds the weights."""
        own = {id(v) for v in self.event.variables}
        for called in self.calls.models:
            if any(id(v) in own for v in called.model.trainable_variables):
                return called
        return None

    # --- weights ---------------------------------------------------------------------------------

    def _weights(self, holders: Holders, divided: float, notes: list[str]) -> tuple[Weight, ...]:
        variables = list(self.event.variables)
        names, layers = names_of(holders, variables), holders.layer_of()
        given = [None if g is None else _dense(g) for g in self.event.gradients]
        totals = [g if g is None or divided == 1.0 else g / divided for g in given]
        scale = divided if self.scaled is not None else 1.0
        updates: list[float | None] = [None] * len(variables)
        try:
            updates = coming_update(self.event.optimizer, variables, totals)
        except Exception as error:
            notes.append(
                msg("the coming update could not be worked out: {brief}", brief=brief(error))
            )
        made = []
        for variable, gradient, update in zip(
            variables, self._gradients(given), updates, strict=True
        ):
            layer = layers.get(id(variable))
            made.append(
                Weight(
                    name=names[id(variable)],
                    value=summarise(array(variable.value)),
                    fan_in=None if layer is None else fan_in(variable, layer),
                    gradient=None
                    if gradient is None
                    else summarise(array(gradient)).scaled(1 / scale),
                    update=update,
                )
            )
        return tuple(made)

    def _gradients(self, given: list[Any]) -> list[Any]:
        """Of the loss, before the script has clipped or added them; else as they are given to the optimizer."""
        heard = self.differentiated
        if heard is None or not heard.sources:
            return given
        found = {id(s): g for s, g in zip(heard.sources, heard.gradients, strict=False)}
        if not all(id(v) in found for v in self.event.variables):
            return given
        own = [found[id(v)] for v in self.event.variables]
        return [None if g is None else _dense(g) for g in own]

    # --- the loss --------------------------------------------------------------------------------

    def _loss(self) -> Loss:
        target = self._target()
        found = native.parts(target)
        known = bool(found) and all(map(native.has_value, found))
        value = native.number(target)
        only = self._only_loss(value)
        if only is None:
            return Loss("the script's own loss", value, known=known)
        reading: Reading = reading_of(only.loss)
        leaves = keras.tree.flatten(only.outputs)
        output = (
            summarise(array(leaves[0]))
            if len(leaves) == 1 and native.has_value(leaves[0])
            else None
        )
        return Loss(
            name=reading.name,
            value=value,
            family=reading.family,
            reads=reading.reads,
            output=output,
            classes=None if output is None or len(output.shape) < 2 else output.shape[-1],
            targets=targets(only.targets) if native.has_value(only.targets) else None,
            known=known,
            ignored=reading.ignored,
        )

    def _only_loss(self, value: float) -> CalledLoss | None:
        """The loss function that alone makes what is minimised."""
        losses = self.calls.losses
        if len(losses) != 1:
            return None
        if not native.has_value(losses[0].value):  # JAX hides it while it differentiates
            return losses[0]
        found = native.number(losses[0].value)
        return losses[0] if abs(found - value) <= 1e-3 * abs(value) else None


def _batch_size(called: CalledModel | None) -> int:
    leaves = (
        [] if called is None else [v for v in keras.tree.flatten(called.inputs) if v is not None]
    )
    return int(leaves[0].shape[0]) if leaves and len(leaves[0].shape) else 1


def _inputs(called: CalledModel) -> tuple[Input, ...]:
    leaves = [v for v in keras.tree.flatten(called.inputs) if v is not None]
    names = input_names(called.inputs, len(leaves))
    return tuple(
        Input(name, summarise(array(leaf)), None, column_rms(array(leaf)))
        for name, leaf in zip(names, leaves, strict=True)
        if native.has_value(leaf)
    )


def _dense(gradient: Any) -> Any:
    return keras.ops.convert_to_tensor(gradient)
