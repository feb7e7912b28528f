"""One watched Keras model: reads what the tap left after each call of the training function."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import keras
import numpy as np

from evengrad.adapters.common.source import where
from evengrad.adapters.keras import compat
from evengrad.adapters.keras.facts.batch import facts_of
from evengrad.adapters.keras.facts.flat import flat
from evengrad.adapters.keras.facts.smothered import smothered
from evengrad.adapters.keras.measure.spoiled import fragile, update_fact
from evengrad.adapters.keras.measure.update import unscaled
from evengrad.adapters.keras.tap import native, origin, saving
from evengrad.adapters.keras.tap.access import InState, access_to
from evengrad.adapters.keras.tap.activations import Sampler
from evengrad.adapters.keras.tap.batches import Batches, sampled
from evengrad.adapters.keras.tap.evaluation import evaluated
from evengrad.adapters.keras.tap.fitting import Fitting
from evengrad.adapters.keras.tap.lesson import KerasLesson
from evengrad.adapters.keras.tap.mixing import mixed
from evengrad.adapters.keras.tap.padded import padded
from evengrad.adapters.keras.tap.recurrence import unbounded
from evengrad.adapters.keras.tap.ring import AnyRing, HostRing, Ring, RingRow, RingStatus
from evengrad.adapters.keras.tap.snapshot import KerasSnapshot, figures, small_rest
from evengrad.adapters.keras.tap.subject import (
    box_of,
    dropout_rates,
    frozen_share,
    subject_of,
    watched_variables,
)
from evengrad.adapters.keras.tap.tap import KerasTap
from evengrad.errors import EvengradError
from evengrad.recording import guard as guards
from evengrad.recording.blackbox import BlackBox
from evengrad.recording.clip import UpdateClip
from evengrad.recording.guard import Action, GuardStopError
from evengrad.recording.monitor import gradient_rms
from evengrad.recording.session import RefusedStep, Watching, log
from evengrad.recording.settings import Settings
from evengrad.values.fact import Fact
from evengrad.values.message import msg
from evengrad.values.run import Detail, EventKind, Floats, Step, Subject, Tensor

_LATEST = 32  # steps until the ring is read


class Watched:
    """A model with its present optimizer, both built. begin: makes the Watching of a subject."""

    def __init__(
        self, model: Any, settings: Settings, begin: Callable[[Subject], Watching], script: str
    ) -> None:
        self.model, self.optimizer, self.settings = model, model.optimizer, settings
        self.inner = unscaled(self.optimizer)
        expect_clip(self.inner, settings, native.is_distributed(model))
        self._begin, self._script = begin, script
        self.variables = watched_variables(model, self.inner)
        self.subject = subject_of(model, self.inner, self.variables, settings, script)
        self.watching: Watching | None = None
        self.on = False
        self.latest: Step | None = None
        self.bound = self.counted = 0  # steps that were read, and those on which the clip bound
        self._per_call = int(model.steps_per_execution)
        self._make()
        self._restart()

    @property
    def tensors(self) -> tuple[Tensor, ...]:
        """What is watched."""
        return self.subject.tensors

    def _make(self) -> None:
        count, settings = len(self.tensors), self.settings
        size = max(min(settings.every, _LATEST), 10) + self._per_call
        corruptible: list[Any] = []
        alone = not native.is_distributed(self.model)
        if settings.guard is not None and alone:
            corruptible = small_rest(self.model) + small_rest(compat.loss_tracker(self.model))
        self.ring: AnyRing
        kind: type[KerasTap] = KerasTap
        if keras.backend.backend() == "torch":
            from evengrad.adapters.keras.tap.tap_torch import TorchTap

            self.ring, kind = HostRing(count, size, settings, corruptible), TorchTap
        else:
            self.ring = Ring(self.inner, count, size, settings, corruptible)
        self.batches = Batches(max(3, self._per_call), self._told)
        self.tap = kind(
            self.optimizer,
            self.variables,
            self.tensors,
            self.ring,
            settings,
            self._failed,
            bool(self.model.jit_compile),
        )
        self._show: Callable[[], None] = lambda: None
        self.fitting = Fitting(self.model, self.tap, self.batches, settings.every)
        self._sampler, self._unsampled = Sampler(self.model), False
        self.ring.take_out()

    def _restart(self) -> None:
        self.ring.restart()
        self.batches.forget()
        self._begun = self._read = self._refused = 0
        self._times: dict[int, float] = {}
        self._before: list[Any] | None = None
        self._snapshot: KerasSnapshot | None = None
        self._reach: Floats = np.zeros(len(self.tensors))
        self._new = True
        self._lesson = KerasLesson(self.model)
        self._seen = False

    # --- on and off ----------------------------------------------------------------------------

    def fits(self, model: Any, settings: Settings) -> bool:
        """Whether this can be put on again, without compiling anew."""
        same = model is self.model and model.optimizer is self.optimizer
        shape = int(model.steps_per_execution) == self._per_call
        alike = [id(v) for v in watched_variables(model, self.inner)] == list(
            map(id, self.variables)
        )
        return same and shape and alike and settings == self.settings and self.fitting.fits()

    def put_on(self, watching: Watching | None = None) -> Any:
        """Begin to watch; returns the training function. watching: a run to go on with."""
        if watching is None or watching is not self.watching:
            self._restart()
            self.watching = watching or self._begin(self.subject)
            self.watching.seen(frozen=frozen_share(self.model), dropout=dropout_rates(self.model))
        self.on = True
        try:
            return self._put_on()
        except Exception:
            self.take_off(flush=False)
            raise

    def _put_on(self) -> Any:
        self.ring.put_in()
        self.access = access_to(self.model)
        self._show = saving.hide(
            self.ring, tuple({id(o): o for o in (self.optimizer, self.inner)}.values())
        )
        self.tap.put_on()
        return self.fitting.put_on(self, self.access)

    def take_off(self, flush: bool = True) -> None:
        """Take every patch and variable off; the run goes on where it is put on again. Twice is once.

        flush: read what was not read yet; not after an error, which may have lost it.
        """
        if not self.on:
            return
        self.on = False
        try:
            if flush:
                self._flush()
            if self.watching is not None:
                self.watching.seen(**self._lesson.values())
        finally:
            self.fitting.take_off()
            self.tap.take_off()
            self._show()
            self.ring.take_out()

    # --- around the training function ----------------------------------------------------------

    def before(self) -> int:
        """A call of the training function begins."""
        try:
            self._look_before()
        except Exception as error:
            self._trouble(error)
        return self._begun

    def _look_before(self) -> None:
        watching = self._watching
        if watching.off:
            return
        if self._new:
            self._new = False
            self._limits(figures(self.access, self.variables, None)[0])
        observed = self._per_call == 1 and self.settings.observed(self._begun)
        self._before = [self.access.value(v) for v in self.variables] if observed else None

    def after(self) -> None:
        """It has ended. Raises GuardStopError."""
        try:
            self._look_after()
        except GuardStopError:
            raise
        except Exception as error:
            self._trouble(error)
        stopped = self._watching.stopped
        if stopped is not None and not self._watching.off:
            raise stopped

    def _look_after(self) -> None:
        watching = self._watching
        if watching.off:
            return
        status = self.ring.read_status(self.access)
        now = watching.now
        for step in range(self._begun, status.begun):
            self._times[step] = now
        self._begun = status.begun
        self._see_losses()
        if status.refused > self._refused:
            self._refuse(status)
        elif any(map(self.settings.observed, range(self._read, status.begun))) or (
            status.begun - self._read >= _LATEST
        ):
            self._deliver()

    def _see_losses(self) -> None:
        """Once, what the losses are given of the first batch."""
        if self._seen or not self._begun:
            return
        self._seen = True
        batch = self.batches.of(0)
        if batch is not None:
            with self.access.filled():
                for fact in facts_of(self.model, batch):
                    self._watching.fact(fact)

    def _flush(self) -> None:
        try:
            if self.watching is not None and not self.watching.off:
                if isinstance(self.access, InState):
                    self.access.state = None
                self._deliver()
        except Exception as error:
            self._trouble(error)

    def _told(self, data: Any) -> None:
        """A batch was kept."""
        if self.watching is not None and self._lesson.take(data):
            self.watching.seen(**self._lesson.values())

    def evaluate(self) -> None:
        """The script is over: is the model, as it is evaluated, what it was as it was trained, and does it
        answer each sample by itself, and by what it has to say?
        """
        if self.watching is None or self.watching.off or self.watching.stopped is not None:
            return
        bound = self._lesson.values().get("baseline")
        try:
            batch = self.batches.latest() if bound else None
            facts = [
                evaluated(self.model, batch, self._begun),
                mixed(self.model, batch),
                padded(self.model, batch),
            ]
        except Exception as error:
            log.info("the last batch could not be evaluated: %s", error)
            return
        for fact in facts:
            if fact is not None:
                self.watching.fact(replace(fact, values={**fact.values, "baseline": bound}))

    @property
    def _watching(self) -> Watching:
        assert self.watching is not None
        return self.watching

    def _failed(self, error: Exception) -> None:
        self._watching.trouble(error)

    def _trouble(self, error: Exception) -> None:
        """An error of our own: no step may be held back any more by what nobody reads."""
        self._watching.trouble(error)
        try:
            self.ring.resume(self.access, self._begun, self._refused)
        except Exception as again:
            self._watching.trouble(again)

    # --- reading -------------------------------------------------------------------------------

    def _deliver(self, until: int | None = None) -> None:
        """Hand over the rows that were not read yet."""
        end = self._begun if until is None else until
        steps = range(self._read, end)
        for step, row in zip(steps, self.ring.read(self.access, steps), strict=True):
            self._hand_over(step, row)
        self._read = end
        self._before = None if until is None else self._before

    def _hand_over(self, number: int, row: RingRow) -> None:
        step = self._step(number, row, applied=row.called)
        self.latest = step
        self.bound += step.coefficient < 1
        self.counted += 1
        self._watching.step(step, row.norms)
        if math.isnan(row.loss) and self.tap.heard:  # NaN as such is one that was not seen
            self._watching.fact(Fact("loss_not_finite", None, number))
        if self.tap.scaled:
            scale = float(self.access.read(self.optimizer.dynamic_scale))
            self._watching.scaler(number, scale, not row.called)
        if number == 0 and row.called and not row.norms.any():
            self._see_flat()
        if row.called and self.settings.observed(number):
            self._detail(number, row)

    def _see_flat(self) -> None:
        """The first step has no gradient at all."""
        batch = self.batches.of(0)
        if batch is None:
            return
        try:
            with self.access.filled():
                fact = flat(self.model, batch, none=False)
        except Exception as error:  # a loss that cannot be computed again
            log.info("the loss was not heard: %s", error)
            return
        if fact is not None:
            self._watching.fact(fact)

    def _step(self, number: int, row: RingRow, applied: bool) -> Step:
        return Step(
            step=number,
            time=self._times.pop(number, self._watching.now),
            loss=row.loss,
            rate=row.rate,
            norm=row.total,
            clipped=row.total * row.factor,
            coefficient=row.factor if math.isfinite(row.factor) else 1.0,
            non_finite=int(np.sum(~np.isfinite(row.norms))) if row.called else 0,
            applied=applied,
        )

    def _detail(self, number: int, row: RingRow) -> None:
        last = number == self._begun - 1
        nothing = np.full(len(self.tensors), math.nan)
        weights, updates = nothing, nothing
        if last:
            weights, updates = figures(self.access, self.variables, self._before)
        rms = gradient_rms(self.tensors, row.norms)
        values = np.stack([rms, row.largest, row.zeros, weights, updates], axis=1)
        self._watching.detail(Detail(number, values, *self._samples(number)))
        if last:
            self._see_clip(row.norms, weights)
        if last and number == 0:
            loose = unbounded(self.variables, [tensor.layer for tensor in self.tensors])
            if loose is not None:
                self._watching.fact(loose)
        if last:
            self._limits(weights)
            guard = self.settings.guard
            if guard is not None and guard.action is Action.ROLLBACK:
                self._snapshot = KerasSnapshot(self.access, self.model, self.inner, self.ring)

    def _see_clip(self, norms: Floats, weights: Floats) -> None:
        """Whether the optimizer's own clip leaves anything of this step."""
        sizes = [math.prod(tensor.shape) for tensor in self.tensors]
        whole = [float(rms) * math.sqrt(n) for rms, n in zip(weights, sizes, strict=True)]
        with self.access.filled():
            names = [tensor.name for tensor in self.tensors]
            fact = smothered(self.inner, norms.tolist(), whole, sizes, names, where())
        if fact is not None:
            self._watching.fact(fact)

    def _samples(self, number: int) -> tuple[Floats, tuple[str, ...]]:
        """Of the activations; not in the first steps, so that a short training pays for no trace."""
        batch = self.batches.of(number) if sampled(number, self.settings.every) else None
        if batch is None or self._unsampled:
            return np.zeros((0, 3)), ()
        try:
            with self.access.filled():
                names, figures = self._sampler.figures(batch[0])
        except Exception as error:  # a model that cannot be traced has no samples
            self._unsampled = True
            log.info("activations are not sampled: %s", error)
            return np.zeros((0, 3)), ()
        return figures, names

    def _limits(self, weights: Floats) -> None:
        plain = type(self.inner).__name__ == "SGD"
        if not plain and getattr(self.settings.guard, "spike", None) is None:
            return
        self._reach = guards.reach(self.tensors, weights, 1.0 if plain else None)
        self.ring.limits(self.access, self._reach, self._watching.ceiling)

    # --- a step that did not pass --------------------------------------------------------------

    def _refuse(self, status: RingStatus) -> None:
        steps = range(self._read, status.begun)
        rows = self.ring.read(self.access, steps)
        for variable, copy in self.ring.before:
            self.access.write(variable, self.access.read(copy))
        for number, row in zip(steps, rows, strict=True):
            if row.passed or not row.called:
                self._hand_over(number, row)
                continue
            self._read = number + 1
            action = self._hold(number, row)
            if action is not Action.SKIP:
                break
        self._read, self._refused = status.begun, status.refused
        if self._watching.stopped is None:
            self.ring.resume(self.access, status.begun, status.refused)

    def _hold(self, number: int, row: RingRow) -> Action:
        guard = self.settings.guard
        limit = self._watching.ceiling
        with np.errstate(all="ignore"):
            reach = self._reach * row.rate
            kind = guards.reason(row.norms, np.asarray(row.factor), reach, row.total, limit)
        what = ""
        if kind is EventKind.NON_FINITE and (row.norms < 1e18).all():
            if fragile(self.inner, self.variables):
                what = self._spoiled(number)
            else:  # A clip by elements: its factors are not known.
                kind = EventKind.SPIKE if row.total > limit else EventKind.OVERWRITE
        step = self._step(number, row, applied=guard is None)
        self.latest = step
        action = self._watching.refuse(
            RefusedStep(step, row.norms, kind, lambda why: self._box(step, row, why), what)
        )
        if action is Action.ROLLBACK and guard is not None and self._snapshot is not None:
            self._snapshot.put_back(self.access, guard.lower)
        return action

    def _spoiled(self, number: int) -> str:
        """The gradients were finite, and what the optimizer made of them is not. Returns it in words."""
        dtype = keras.backend.standardize_dtype(self.variables[0].dtype)
        guarded = self.settings.guard is not None
        given: tuple[Any, ...] = (dtype, (), len(self.variables), number, guarded, where())
        fact, what = update_fact(self.inner, *given)
        self._watching.fact(fact)
        return what

    def _box(self, step: Step, row: RingRow, kind: EventKind) -> BlackBox:
        batch = self.batches.of(step.step)
        with self.access.filled(), self.ring.out():
            found = None
            if kind is EventKind.NON_FINITE:
                found = origin.find(self.model, batch, self.tensors, row.norms)
            return box_of(self.model, self.inner, self.tensors, step, row.norms, kind, batch, found)


def expect_clip(optimizer: Any, settings: Settings, distributed: bool) -> None:
    """Raise EvengradError for a clip that this training has nothing for."""
    if settings.clip is not None and distributed:
        raise EvengradError(
            msg(
                "Under a tf.distribute strategy evengrad clips nothing. Expected no clip; give the optimizer "
                "one of Keras' own, such as global_clipnorm=1.0."
            )
        )
    if isinstance(settings.clip, UpdateClip) and not (
        compat.keeps(optimizer, "velocities") and hasattr(optimizer, "beta_2")
    ):
        raise EvengradError(
            msg(
                "The clip 'update' reads Adam's second moment, which {kind} has not. "
                "Expected Adam, AdamW or the like; for this optimizer take auto, norm or agc.",
                kind=type(optimizer).__name__,
            )
        )
