"""Steps into the user's own PyTorch loop at its first backward and its first optimizer step."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from torch.optim.optimizer import register_optimizer_step_pre_hook

from evengrad.adapters.common.patching import Patches
from evengrad.adapters.common.sessions import Armed, Session
from evengrad.adapters.torch.compat import compile_later
from evengrad.adapters.torch.loop.loop import Loop
from evengrad.adapters.torch.loop.names import shown
from evengrad.adapters.torch.loop.stand_in import follow_foreign
from evengrad.adapters.torch.loop.stepper import Stepper
from evengrad.adapters.torch.loop.turns import OptimizerTurns, holds
from evengrad.adapters.torch.measure.measure import Measurement
from evengrad.adapters.torch.measure.rate import with_rate
from evengrad.adapters.torch.measure.rerun import rerun
from evengrad.adapters.torch.measure.update import ComingUpdate, coming_update, describe
from evengrad.adapters.torch.record.record import Recorder
from evengrad.adapters.torch.record.state import untouched
from evengrad.adapters.torch.tap.closures import has_closure, with_closure
from evengrad.adapters.torch.tap.models import find_roots, note_modules
from evengrad.adapters.torch.tap.reading import non_finite
from evengrad.adapters.torch.tap.subject import names_of
from evengrad.adapters.torch.tap.undo import update_fact
from evengrad.errors import CannotCheckError, EvengradError
from evengrad.values.fact import Fact, Where
from evengrad.values.message import msg
from evengrad.values.probe import Loss, Optimizer, Probe, Turn
from evengrad.values.wording import brief

_PATIENT = 8
"""Steps for which another training is waited for with the recorder on."""
_LOST = 4
"""Steps of one that no loss reaches, until it is not waited for."""


def arm(session: Session, *, followed: bool = True) -> Armed:
    """Record from now on; deliver the probe at the first optimizer step.

    Args:
        session: to report to.
        followed: whether to follow the loop for its facts, too. That cannot begin within a hook of a step, for
            torch goes through all of them then.
    """
    first = _FirstStep(session, followed)
    return Armed(disarm=first.disarm, flush=first.flush)


class _FirstStep:
    """Recorder, patches and the one measurement of a script."""

    def __init__(self, session: Session, followed: bool) -> None:
        self.session = session
        self.measurement: Measurement | None = None
        self.unseen: CannotCheckError | None = None  # a backward of something not recorded
        self.value = math.nan  # of the last loss
        self.fault: Exception | None = None  # our own; or the script's, whose backward then says so
        self.active = True
        self.copying = False
        self.facts: list[Fact] = []
        self.turns = OptimizerTurns(session, _LOST)
        self.patches = Patches()
        note_modules(self.patches)
        self.patches.wrap(torch.optim.Optimizer, "__init__", self._making)
        self.recorder = Recorder(on_backward=self._backward)
        self.recorder.enter()
        self.patches.on_undo(self.recorder.leave)
        self.loop = Loop(self._seen, lambda _: None) if followed else None
        # Before the recorder leaves: function modes are a stack.
        if self.loop is not None:
            self.patches.on_undo(self.loop.close)
        self.patches.on_undo(register_optimizer_step_pre_hook(self._step).remove)
        self.patches.wrap(torch.autograd, "backward", self._direct_backward)
        self.patches.wrap(torch.amp.GradScaler, "scale", self._noting_scale)
        compile_later(self.patches)
        follow_foreign(self.patches)

    def disarm(self) -> None:
        """Take every patch off; what was seen of trainings that went on is told."""
        self.active = False
        if self.loop is not None and self.turns.begun:
            self.loop.end()
        self.patches.undo()

    def flush(self) -> None:
        """A loop that updates its weights by hand has a backward pass but no optimizer step."""
        if self.measurement is not None and not self.turns.taken:
            if self.loop is not None:
                self.loop.end()
            self._deliver(
                ComingUpdate(), None, (msg("no optimizer step was seen: updates are unknown"),)
            )
        self._give_up()

    def _give_up(self) -> None:
        """At the first step, or the script's end: say why nothing was measured."""
        self._expect_no_fault()
        if self.fault is not None:
            self.session.trouble(self.fault)
        if self.unseen is not None:
            self.session.fail(self.unseen)

    def _expect_no_fault(self) -> None:
        """The script's own error at a loss that it does not train on, put off till that was known."""
        reached = [] if self.measurement is None else self.measurement.nodes
        fault = self.recorder.fault(reached)
        if fault is not None:
            self.session.failed(fault)

    # --- patches --------------------------------------------------------------------------------

    def _making(self, original: Callable[..., None]) -> Callable[..., None]:
        """Each optimizer is known from its line on."""

        def init(optimizer: torch.optim.Optimizer, *args: Any, **kwargs: Any) -> None:
            original(optimizer, *args, **kwargs)
            if self.copying:
                return
            if self.loop is not None:
                self.loop.made(optimizer)
            if self.active and self.turns.made(optimizer):
                self._wake()

        return init

    def _seen(
        self, one: Stepper | None, kind: str, place: Where | None, values: dict[str, Any]
    ) -> None:
        """A fact of the loop, for the probe."""
        if self.turns.begun and self.turns.add(one, Fact(kind, place, 0, values)):
            return
        if kind == "never_stepped" and self.turns.begun and self.measurement is None and one:
            self._idle(one.optimizer, Fact(kind, place, 0, values))
            return
        if kind != "accumulation_undivided":  # whether it matters only the rate tells
            self.facts.append(Fact(kind, place, 0, values))
        if kind == "weights_unreached" and not values["steps"]:  # backward() is about to fail
            self._without_measurement(None if one is None else one.optimizer)

    def _without_measurement(self, optimizer: torch.optim.Optimizer | None) -> None:
        """No gradient leaves the loss, so that nothing can be measured, and it was seen why."""
        reached = [fact for fact in self.facts if fact.kind == "weights_unreached"]
        if reached:
            self.session.deliver(self._nothing(optimizer, str(reached[0].values["model"])))

    def _idle(self, optimizer: torch.optim.Optimizer, fact: Fact) -> None:
        """A training whose step never came, while others' did."""
        models = ", ".join(name or kind for name, kind in fact.values["models"])
        probe = replace(
            self._nothing(optimizer, models),
            facts=(fact,),
            notes=(msg("its optimizer makes no step: nothing was measured"),),
            training=Turn(
                1, f"{models} by {fact.values['optimizer']}", self.turns.place(optimizer)
            ),
        )
        self.turns.keep(optimizer, probe)

    def _nothing(self, optimizer: torch.optim.Optimizer | None, model: str) -> Probe:
        """A probe in which nothing was measured."""
        return Probe(
            frontend="torch",
            backend="torch",
            versions=(f"torch {torch.__version__}",),
            model=model,
            batch_size=0,
            inputs=(),
            outputs=(),
            operations=(),
            weights=(),
            loss=Loss("loss", self.value),
            optimizer=None if optimizer is None else describe(optimizer),
            notes=(msg("no gradient leaves the loss: nothing could be measured"),),
            facts=tuple(self.facts),
        )

    def _direct_backward(self, original: Callable[..., None]) -> Callable[..., None]:
        def backward(tensors: Any, *args: Any, **kwargs: Any) -> None:
            several = isinstance(tensors, tuple | list)
            loss = tensors[0] if several and len(tensors) == 1 else tensors
            if isinstance(loss, torch.Tensor):
                self._backward(loss)
            with self.recorder.in_backward():
                original(tensors, *args, **kwargs)

        return backward

    def _noting_scale(self, original: Callable[..., Any]) -> Callable[..., Any]:
        """GradScaler.scale: by how much the gradients are too large."""

        def scale(scaler: torch.amp.GradScaler, outputs: Any) -> Any:
            scaled = original(scaler, outputs)
            if scaler.is_enabled():
                self.recorder.scale = float(scaler.get_scale())
            return scaled

        return scale

    # --- what happens in the script -----------------------------------------------------------------

    def _backward(self, loss: torch.Tensor) -> None:
        """The first backward of a loss made from recorded calls; later ones only accumulate."""
        self.value = float(loss.detach().double().mean())
        if not self.active or self.measurement is not None or not loss.requires_grad:
            return
        if self.turns.taken:
            self._rest()
        if self.turns.begun and (self.recorder.idle or not self._waited_for(loss)):
            return
        if loss.numel() != 1:
            self.session.fail(
                CannotCheckError(
                    msg(
                        "backward() was called on a loss of shape {shape}; expected a scalar. "
                        'Average it: reduction="mean", or loss.mean().',
                        shape=tuple(loss.shape),
                    )
                )
            )
        try:
            with self.recorder.paused():
                measurement = Measurement(self.recorder, loss)
                self.session.starting()
                measurement.run()
        except CannotCheckError as error:
            self.unseen = error
            return
        except EvengradError as error:
            self.session.fail(error)
        except Exception as error:
            self.fault = error
            return
        self.recorder.stop()
        self.measurement = measurement
        self._expect_no_fault()

    def _step(self, optimizer: torch.optim.Optimizer, args: Any, kwargs: Any) -> Any:
        if not self.active or self.copying:
            return None
        if self.turns.over(optimizer):
            self._passed()
            return None
        if has_closure(args, kwargs):
            return with_closure(lambda: self._measured(optimizer), args, kwargs)
        self._measured(optimizer)
        return None

    def _measured(self, optimizer: torch.optim.Optimizer) -> None:
        """The gradients of the first step are there."""
        if not self.active or self.copying or self.turns.over(optimizer):
            return
        if self._is_elsewhere(optimizer):
            self._unseen(optimizer)
            return
        if self.turns.begun and _has_no_gradient(optimizer):  # what was measured was set back since
            self.measurement = None
            self._unseen(optimizer)
            return
        if not self.turns.wanted(optimizer):
            self.measurement = None
            self._passed()
            return
        last = self.turns.ahead is None or self.measurement is None
        if self.loop is not None:
            self.loop.only_step(optimizer) if last else self.loop.count(optimizer)
        if self.measurement is None:
            self._without_measurement(optimizer)
            self._give_up()
            return
        self.copying = True  # the copy's own step comes through this hook, too
        notes: tuple[str, ...] = ()
        coming = ComingUpdate()
        try:
            coming = coming_update(optimizer)
        except Exception as error:
            notes = (msg("the coming update could not be worked out: {brief}", brief=brief(error)),)
        self._spoiled(optimizer, coming.rms)
        self._deliver(coming, describe(optimizer), notes, optimizer)

    def _spoiled(self, optimizer: torch.optim.Optimizer, updates: dict[int, float]) -> None:
        """Weights that finite gradients would make NaN or infinite."""
        own = [p for group in optimizer.param_groups for p in group["params"]]
        bad = [p for p in own if not math.isfinite(updates.get(id(p), 0.0))]
        if bad and not any(non_finite(t) for p in bad for t in (p, p.grad)):
            names = names_of(optimizer, find_roots(own))
            self.facts.append(update_fact(optimizer, names, 0, bad, None)[0])

    def _accumulated(self, probe: Probe, optimizer: torch.optim.Optimizer | None) -> None:
        """Undivided losses whose sum is too much for the rate, and whose mean is not."""
        rate = probe.rate
        if self.loop is None or rate is None or optimizer is None:
            return
        count = self.loop.pieces
        if count > 1 and rate.learning_rate / count < rate.critical < rate.learning_rate:
            values = {
                "optimizer": shown(optimizer),
                "count": count,
                "rate": rate.learning_rate,
                "critical": rate.critical,
            }
            self.facts.append(Fact("accumulation_undivided", self.loop.piece, 0, values))

    def _deliver(
        self,
        coming: ComingUpdate,
        described: Optimizer | None,
        notes: tuple[str, ...],
        optimizer: torch.optim.Optimizer | None = None,
    ) -> None:
        assert self.measurement is not None
        try:
            with self.recorder.paused():
                probe = self.measurement.assemble(coming.rms, described, notes)
                if optimizer is not None:
                    with warnings.catch_warnings():
                        warnings.simplefilter("ignore")  # the script's own pass has said it
                        probe = self._with_rate(probe, optimizer, coming)
                self._accumulated(probe, optimizer)
                pieces = 1 if self.loop is None else self.loop.pieces
                probe = replace(probe, facts=(*probe.facts, *self.facts), accumulated=pieces)
                whose = optimizer or self.turns.holder(self.measurement.names)
                probe = self.turns.named(probe, whose)
        except Exception as error:
            self.session.trouble(error)
        self.copying = False
        if optimizer is None or self.turns.ahead is None:
            self.session.deliver(probe)
        self.turns.keep(optimizer, probe)
        self.measurement, self.facts = None, []
        self._rest()

    # --- between two trainings --------------------------------------------------------------------

    def _waited_for(self, loss: torch.Tensor) -> bool:
        """Whether a loss reaches the weights of a training that is to come."""
        try:
            return self.turns.awaits(Measurement(self.recorder, loss).names)
        except CannotCheckError:
            return False

    def _is_elsewhere(self, optimizer: torch.optim.Optimizer) -> bool:
        """Whether what was measured, if anything, is another one's, which is to come."""
        if self.measurement is None:
            return self.turns.begun
        reached = self.measurement.names
        return not holds(optimizer, reached) and self.turns.awaits(reached)

    def _passed(self) -> None:
        """A step of a training that is done with, or let by."""
        self.session.passing()
        if self.turns.steps >= _PATIENT and not self.recorder.idle:
            self._rest()

    def _unseen(self, optimizer: torch.optim.Optimizer) -> None:
        """The first step of one of which nothing was recorded: its second is. Where no loss reaches it then,
        there is nothing to measure.
        """
        self.session.passing()
        if self.recorder.idle:
            self._wake()
        if not self.turns.missed(optimizer) or not self.turns.wanted(optimizer):
            return
        model = ", ".join(self.turns.models(optimizer))
        probe = self.turns.named(self._nothing(optimizer, model), optimizer)
        self.turns.keep(optimizer, probe)
        self.facts = []
        self._rest()
        if self.turns.ahead is None:
            self.session.enough()

    def _rest(self) -> None:
        self.recorder.rest()

    def _wake(self) -> None:
        self.recorder.wake()
        self.turns.steps = 0

    def _with_rate(
        self, probe: Probe, optimizer: torch.optim.Optimizer, coming: ComingUpdate
    ) -> Probe:
        """The largest stable learning rate for this batch, by running its forward pass again."""
        assert self.measurement is not None
        try:
            model, loss = rerun(self.recorder, self.measurement.nodes, self.measurement.loss)
        except Exception as error:
            note = msg("the largest stable learning rate is not known: {brief}", brief=brief(error))
            return replace(probe, notes=(*probe.notes, note))
        with untouched(model):
            return with_rate(probe, optimizer, None, loss, self.session.precise, coming)


def _has_no_gradient(optimizer: torch.optim.Optimizer) -> bool:
    return all(p.grad is None for group in optimizer.param_groups for p in group["params"])
