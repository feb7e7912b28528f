"""Clip and guard decided on the host, before the step: one read of the gradients' norms."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from evengrad.adapters.torch.sharding.pieces import here
from evengrad.adapters.torch.sharding.shards import Shards
from evengrad.adapters.torch.statistics.layout import local
from evengrad.adapters.torch.statistics.ledger import away
from evengrad.adapters.torch.tap.clipping import Clipper, UpdateClipper, multiply, total_norm
from evengrad.adapters.torch.tap.reading import NormPlan, as_host, exact, non_finite
from evengrad.adapters.torch.tap.training import Pending, Training
from evengrad.adapters.torch.tap.undo import UpdateCheck, fragile, update_fact
from evengrad.recording import guard as guards
from evengrad.recording.clip import NormClip, OnHost, UpdateClip
from evengrad.recording.guard import Action
from evengrad.recording.session import RefusedStep
from evengrad.recording.whereabouts import Whereabouts, whereabouts
from evengrad.values.fact import Fact
from evengrad.values.run import EventKind, Floats, Step

_HOST = OnHost()
_ONE = np.ones(())


class HostTap:
    """Looks at each step of a training. overflowed: the script's loss scaler skips this one itself."""

    kept = 0

    def __init__(self, training: Training) -> None:
        self.training = training
        clip = training.settings.clip
        self.clipper = Clipper(clip, training.tensors, training.optimizer)
        self.overflowed = False
        self._update_clip = UpdateClipper(clip) if isinstance(clip, UpdateClip) else None
        self._reach: Floats = np.zeros(len(training.tensors))
        self._highest = 0.0  # of the reach
        self._fragile = fragile(training.optimizer)
        self._update: UpdateCheck | None = None
        self._losses: list[float] = []  # of this step, where they came with the norms

    def before_own_clip(self, factor: Any) -> None:
        """The script is about to multiply the gradients by that factor, a tensor."""
        training = self.training
        if training.seen is None:
            training.seen = self._norms(training.with_gradient())
        training.user_factor = training.user_factor * float(factor)

    def look(self, pending: Pending, folding: bool) -> None:
        """Look, clip, and refuse the step if need be. folding: by the optimizer's kernel where it can."""
        training = self.training
        found_inf = getattr(training.optimizer, "found_inf", None)
        if found_inf is not None and float(found_inf):
            self.overflowed = True
            self.skipped_outside(pending)
            return
        training.come_together()
        before = training.seen if training.seen is not None else self._norms(pending.parameters)
        pending.divide = float(pending.scale) if pending.scale is not None else 1.0
        pending.own_norms = pending.norms = before / pending.divide
        pending.loss = self._loss()
        if training.shards is not None and not self._whole(training.shards, pending):
            return
        if training.observed:
            self._observe(pending)
        total = total_norm(pending.norms)
        if not math.isfinite(total) or total == 0.0:
            total = self._exactly(pending)
        factors = self.clipper.factors(pending.norms, total)
        passes = training.settings.guard is None or self._passes(pending.norms, total, factors)
        pending.step = self._row(total, pending, factors)
        if training.losses and math.isnan(pending.loss):  # NaN as such is one that was not seen
            training.watching.fact(Fact("loss_not_finite", None, training.step))
        if not passes:
            self._refuse(pending, factors, total)
            return
        if training.settings.guard is None and not math.isfinite(total):
            self._report(pending, factors, total)
        self._clip(pending, factors, folding)
        if self._fragile:
            self._update = UpdateCheck(training.optimizer, pending.parameters)

    def finish(self, pending: Pending) -> None:
        """After the step."""
        training, step = self.training, pending.step
        update, self._update = self._update, None
        if step is None or pending.refused:
            return
        if update is not None and (bad := self._spoilt(update.bad())):
            self._take_back(pending, update, bad)
            if pending.refused:
                return
        if self._update_clip is not None:
            step = _clipped(step, step.norm * self._update_clip.after(training.optimizer))
        elif pending.clipped is not None:
            step = _clipped(step, pending.clipped)
        training.watching.step(step, pending.norms)
        if pending.observation is not None:
            training.watching.detail(training.detail(pending)[0])
            training.keep_for_rollback()

    def flush(self) -> None:
        """Nothing waits."""

    def skipped_outside(self, pending: Pending) -> None:
        """The script's own loss scaler does not make this step."""
        training = self.training
        training.come_together()
        pending.loss = self._loss()
        if training.shards is not None:
            nothing = np.zeros(len(training.names))
            pending.loss = training.shards.step(nothing, self._seen(pending), True).loss
        self._skipped(pending)

    def _skipped(self, pending: Pending) -> None:
        training = self.training
        row = self._row(math.inf, pending, _ONE)
        missing = np.full(len(training.tensors), np.nan)
        training.watching.step(replace(row, clipped=math.nan, applied=False), missing)

    # --- looking -----------------------------------------------------------------------------------

    def _whole(self, shards: Shards, pending: Pending) -> bool:
        """The step as all processes see it; whether it goes on. Where the loss scaler of one of them skips
        it, it is none for all.
        """
        pending.own_loss = pending.loss
        found = shards.step(pending.own_norms, self._seen(pending), False)
        pending.norms, pending.loss = found.norms, found.loss
        if found.skipped:
            self._withhold(pending)
            self._skipped(pending)
        return not found.skipped

    def _seen(self, pending: Pending) -> list[float]:
        return [pending.loss] if self.training.losses else []

    def _norms(self, parameters: list[Any]) -> Floats:
        """Of this process's tensors, 0 where there is no gradient. The one host read of a step."""
        training = self.training
        found = np.zeros(len(training.names))
        if parameters:
            if [id(p) for p in parameters] != training.plan.ids:
                training.plan = NormPlan(parameters, training.index)
            packed = training.plan.norms([here(p) for p in parameters])
            found[training.plan.places] = (
                self._with_losses(packed) if away(packed) else as_host(packed)
            )
        return found

    def _with_losses(self, packed: Any) -> Floats:
        """The same on the host, and the losses with it, for each read waits for an accelerator."""
        losses = [v.reshape(()).to(packed.device, packed.dtype) for v in self.training.losses]
        if not losses:
            return as_host(packed)
        values = as_host(torch.cat([packed, torch.stack(losses)]))
        self._losses = values[len(packed) :].tolist()
        return values[: len(packed)]

    def _exactly(self, pending: Pending) -> float:
        """Where squares overflowed or vanished in float32: once more in float64."""
        own, shards = pending.own_norms, self.training.shards
        if self.training.seen is None:
            for parameter in pending.parameters:
                i = self.training.index[id(parameter)]
                if not math.isfinite(own[i]) or own[i] == 0.0:
                    own[i] = exact(here(parameter)) / pending.divide
        if shards is not None:
            pending.norms = shards.exact(own)
        return total_norm(pending.norms)

    def _observe(self, pending: Pending) -> None:
        pending.observation = self.training.observe()
        weights = pending.observation.weight_rms(as_host(pending.observation.weights))
        if self.training.shards is not None:
            weights = self.training.shards.weights(weights, pending.observation.sizes)
        self._reach = self.training.reaches(weights)
        self._highest = float(self._reach.max(initial=0.0))

    def _passes(self, norms: Floats, total: float, factors: Floats) -> bool:
        ceiling = self.training.watching.ceiling
        if total <= min(ceiling, guards.SQUARES) and total * self._highest <= 1:
            return True  # each norm is at most the total, and each factor at most 1
        factors = factors * self.training.user_factor
        return bool(guards.passes(_HOST, norms, total, factors, self._reach, ceiling))

    def _loss(self) -> float:
        """Of this process; NaN where none was seen."""
        training = self.training
        losses, self._losses = self._losses, []
        if len(losses) != len(training.losses):
            losses = [float(loss) for loss in training.losses]
        return (
            sum(losses) / (len(losses) if training.staged else training.pieces)
            if losses
            else math.nan
        )

    def _row(self, total: float, pending: Pending, factors: Floats) -> Step:
        training, clipped = self.training, total
        if factors.ndim:
            clipped = total_norm(pending.norms * factors) * training.user_factor
        elif training.user_factor != 1.0 or factors != 1.0:
            clipped = total * float(factors) * training.user_factor
        return Step(
            step=training.step,
            time=training.watching.now,
            loss=pending.loss,
            rate=training.rate,
            norm=total,
            clipped=clipped,
            coefficient=clipped / total if total and math.isfinite(total) else 1.0,
        )

    # --- a step that passes ------------------------------------------------------------------------

    def _clip(self, pending: Pending, factors: Floats, folding: bool) -> None:
        training, parameters = self.training, pending.parameters
        clip = training.settings.clip
        if clip is None or not parameters or (isinstance(clip, NormClip) and (factors >= 1).all()):
            return
        indices = [int(training.places[training.index[id(p)]]) for p in parameters]
        after = self.clipper.elementwise(indices, parameters)
        if after is not None:
            pending.clipped = total_norm(after) / pending.divide
        elif self._update_clip is not None:
            self._update_clip.before(parameters)
        else:
            own = factors if factors.ndim == 0 else factors[indices]
            gradients = [p.grad for p in parameters]
            optimizer = training.optimizer if folding else None
            pending.folded = multiply(optimizer, gradients, own, pending.scale)

    # --- a step that is refused ------------------------------------------------------------------

    def _refuse(self, pending: Pending, factors: Floats, total: float) -> None:
        """Without their gradients all optimizers leave weights, state and step counters as they are."""
        action = self._report(pending, factors, total)
        pending.refused = True
        if action is Action.STOP:
            return
        self._withhold(pending)
        self.training.roll_back(action)

    def _withhold(self, pending: Pending) -> None:
        pending.refused = True
        pending.taken = [(p, p.grad) for p in pending.parameters]
        for parameter in pending.parameters:
            parameter.grad = None

    def _spoilt(self, bad: list[Any]) -> list[Any]:
        """Those of this process's weights that the update has spoilt in any of them."""
        shards = self.training.shards
        if shards is None:
            return bad
        names = list(self.training.names.values())
        spoilt = shards.any([any(p is one for one in bad) for p in names])
        found = [p for p, count in zip(names, spoilt[shards.own], strict=True) if count]
        return found or (names[:1] if spoilt.any() else [])

    def _take_back(self, pending: Pending, update: UpdateCheck, bad: list[Any]) -> None:
        """The gradients were finite, and what the optimizer made of them is not."""
        training, step = self.training, pending.step
        assert step is not None
        guarded = training.settings.guard is not None
        fact, what = update_fact(training.optimizer, training.names, training.step, bad, guarded)
        training.watching.fact(fact)
        if guarded:
            update.put_back()
            training.buffers.put_back()
        pending.refused = guarded
        count = sum(non_finite(local(p)) for p in bad)
        step = replace(step, non_finite=0 if guarded else count, applied=not guarded)
        pending.step = step
        refused = RefusedStep(
            step, pending.norms, EventKind.NON_FINITE, lambda why: training.box(pending, why), what
        )
        action = training.watching.refuse(refused)
        if guarded and action is not Action.STOP:
            training.roll_back(action)

    def _report(self, pending: Pending, factors: Floats, total: float) -> Action:
        training, step = self.training, pending.step
        assert step is not None
        limit = training.watching.ceiling
        factors = factors * training.user_factor
        kind = guards.reason(pending.norms, factors, self._reach, total, limit)
        where = Whereabouts()
        if kind is EventKind.NON_FINITE:
            count, where = self._bad_elements(pending)
            step = replace(step, non_finite=count, applied=training.settings.guard is None)
        else:
            step = replace(step, applied=False)
        pending.step = step
        if training.settings.guard is not None:
            training.buffers.put_back()
        refused = RefusedStep(
            step, pending.norms, kind, lambda why: training.box(pending, why), where=where
        )
        return training.watching.refuse(refused)

    def _bad_elements(self, pending: Pending) -> tuple[int, Whereabouts]:
        """How many elements of the gradients are not finite, and in which processes it began."""
        shards, counts = self.training.shards, np.zeros(len(self.training.names))
        for parameter in pending.parameters:
            counts[self.training.index[id(parameter)]] = non_finite(here(parameter))
        if shards is None:
            return int(counts.sum()), Whereabouts()
        no_loss = bool(self.training.losses) and not math.isfinite(pending.own_loss)
        gradients, losses = shards.who(bool(counts.any()), no_loss)
        return int(shards.counts(counts).sum()), whereabouts(shards.ranks, losses, gradients)


def _clipped(step: Step, norm: float) -> Step:
    return replace(step, clipped=norm, coefficient=norm / step.norm if step.norm else 1.0)
