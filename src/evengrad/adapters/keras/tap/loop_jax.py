"""An optimizer that the script's own loop steps on JAX, watched: its figures are called back to the host."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from threading import Lock
from typing import Any

import jax
import keras
import numpy as np
from keras import ops

from evengrad.adapters.keras import compat
from evengrad.adapters.keras.facts.lines import line
from evengrad.adapters.keras.facts.unheld import unheld_fact
from evengrad.adapters.keras.measure.spoiled import fragile
from evengrad.adapters.keras.tap import bitwise
from evengrad.adapters.keras.tap.access import Direct
from evengrad.adapters.keras.tap.arithmetic import InStep, more, norms
from evengrad.adapters.keras.tap.loop import WatchedLoop, loss_of
from evengrad.adapters.keras.tap.ring import NO_CEILING, HostRing, RingRow
from evengrad.adapters.keras.tap.tap import finite
from evengrad.errors import EvengradError
from evengrad.recording.blackbox import BlackBox
from evengrad.recording.clip import global_norm
from evengrad.recording.guard import passes
from evengrad.recording.monitor import gradient_rms
from evengrad.values.fact import Where
from evengrad.values.message import msg
from evengrad.values.run import Detail, EventKind, Floats, Step

_XP = InStep()
_ENOUGH = 8  # steps, in more than which no loop begins with the same weights that move


@dataclass(frozen=True, slots=True, eq=False)
class _Arrived:
    """Figures of one step on the host: of gradients, weights and updates, (figures, tensors)."""

    step: int
    norms: Floats
    largest: Floats
    zeros: Floats
    weights: Floats
    updates: Floats


class WatchedLoopInJax(WatchedLoop):
    """See ``WatchedLoop``; steps in at ``stateless_apply`` and adds nothing to the state that the script has.

    The guard holds a step back in the compiled step itself; that it stops the training
    is raised where JAX raises what is called back.
    """

    def _make(self) -> None:
        if self.settings.clip is not None:
            raise EvengradError(
                msg(
                    "In a loop of the script's own on JAX evengrad clips nothing. Expected no clip; give the "
                    "optimizer one of Keras' own, such as global_clipnorm=1.0."
                )
            )
        super()._make()
        self.ring = HostRing(len(self.tensors), 64, self.settings)
        self._lock = Lock()
        self._figures: _Arrived | None = None
        self._same = (
            0  # steps in a row that began with the weights of the one before, which had moved them
        )
        self._stepped: Where | None = None
        self._scaler = self.optimizer is not self.inner

    def put_on(self, watching: Any = None) -> None:
        """Begin to watch."""
        self.watching = watching or self._begin(self.subject)
        self.access = Direct()
        self.on = True

    def take_off(self, flush: bool = True) -> None:
        """No more is read. Twice is once."""
        if self.on:
            jax.effects_barrier()
            self.on = False
            if flush:
                self._flush()

    def hear(self, event: Any, losses: Any = ()) -> None:  # noqa: ARG002
        """The loss of the step that comes; whose it is, values do not tell."""
        self.tap.loss = loss_of(event.target)

    # --- in the step -----------------------------------------------------------------------------

    def step(
        self, apply: Callable[[], Any], state: list[Any], grads: list[Any], old: list[Any]
    ) -> Any:
        """What ``stateless_apply`` returns. state, old: values of the optimizer's and the trained variables."""
        self._stepped = self._stepped or line()
        with self.given(self.optimizer, grads, None):
            new, changed = apply()
        try:
            found = self._traced(grads, old, list(new), state)
            passed = found[4]
            if self.settings.guard is not None:
                before, after = [*old, *state], [*new, *changed]
                kept = jax.lax.cond(
                    passed,
                    lambda a, _: a,
                    lambda _, b: b,
                    jax.lax.optimization_barrier(after),
                    before,
                )
                new, changed = kept[: len(old)], kept[len(old) :]
            jax.debug.callback(self._arrived, *found)
        except Exception as error:  # of our own: the training goes on
            self._failed(error)
        finally:
            self.tap.loss = None
        return new, changed

    def _traced(self, grads: list[Any], old: list[Any], new: list[Any], state: list[Any]) -> Any:
        order = {id(v): i for i, v in enumerate(compat.trained_by(self.inner))}
        places = [order[id(v)] for v in self.variables]
        scale = self._value(state, getattr(self.optimizer, "dynamic_scale", None), 1.0)
        given = [ops.zeros_like(old[i]) if grads[i] is None else grads[i] for i in places]
        known = bitwise.copies(given, False)
        weights = bitwise.copies([old[i] for i in places], False)
        moved = bitwise.copies([new[i] for i in places], False)
        read = norms(known) / scale
        one = ops.ones((), "float32")
        total = global_norm(_XP, read)
        reach = ops.zeros_like(read)
        passed = passes(_XP, read, total, one, reach, one * NO_CEILING)
        if fragile(self.inner, self.variables):
            passed = ops.logical_and(passed, finite(moved))
        iterations = self._value(state, self.inner.iterations, 0)
        observed = (iterations < 10) | ops.equal(ops.mod(iterations, self.settings.every), 0)
        nothing = ops.zeros((4, len(known)), "float32") + float("nan")

        def figures() -> Any:
            pairs = zip(weights, moved, strict=True)
            own = ops.stack([_rms(w) for w in weights])
            steps = ops.stack([_rms(ops.subtract(m, w)) for w, m in pairs])
            return ops.concatenate([more(known), ops.stack([own, steps])])

        rest = ops.cond(observed, figures, lambda: nothing)
        with keras.StatelessScope(zip(self.optimizer.variables, state, strict=True)):
            rate = ops.cast(self.inner.learning_rate, "float32")
        loss = one * float("nan") if self.tap.loss is None else self.tap.loss
        return read, rest, total, loss, passed, rate, scale

    def _value(self, state: list[Any], variable: Any, otherwise: Any) -> Any:
        for own, value in zip(self.optimizer.variables, state, strict=True):
            if own is variable:
                return value
        return otherwise

    # --- on the host -----------------------------------------------------------------------------

    def _arrived(self, *figures: Any) -> None:
        read, rest, total, loss, passed, rate, scale = (np.asarray(f, np.float64) for f in figures)
        with self._lock:
            if not self.on or self._watching.off:
                return
            ring: Any = self.ring
            ring.begin()
            skipped = self._scaler and not passed
            more_of = [
                float(total),
                1.0,
                float(passed),
                float(not skipped),
                float(loss),
                float(rate),
            ]
            largest = rest[0] / scale
            ring.write(np.concatenate([read, largest, rest[1], more_of]))
            ring.refused += int(not passed and not skipped)
            before = self._figures
            self._figures = _Arrived(ring.begun - 1, read, largest, rest[1], rest[2], rest[3])
            self._see_dropped(before, self._figures)
            self.after()

    def _see_dropped(self, before: _Arrived | None, now: _Arrived) -> None:
        """Whether the weights that a step returned were ever given to the next one."""
        if before is None or self._same < 0:
            return
        moved = bool((before.updates > 0).any()) and bool(np.isfinite(before.updates).all())
        self._same = self._same + 1 if moved and np.array_equal(before.weights, now.weights) else -1
        if self._same == _ENOUGH:
            shapes = [tensor.shape for tensor in self.tensors]
            names = [tensor.layer for tensor in self.tensors]
            given: tuple[Any, ...] = (self.inner, "dropped", self._stepped, shapes, names)
            self._watching.fact(unheld_fact(*given, step=now.step, steps=now.step + 1))

    def _limits(self, _weights: Floats) -> None:
        """The compiled step has none but that all is finite."""

    def _look_before(self) -> None:
        """Nothing is read before a step."""

    def _box(self, step: Step, row: RingRow, kind: EventKind) -> BlackBox:
        """Without the weights of that step, which the script alone has."""
        return replace(super()._box(step, row, kind), weights={}, optimizer={}, noise={})

    def _detail(self, number: int, row: RingRow) -> None:
        found = self._figures
        nothing = np.full(len(self.tensors), math.nan)
        here = found is not None and found.step == number
        weights = found.weights if found is not None and here else nothing
        updates = found.updates if found is not None and here else nothing
        rms = gradient_rms(self.tensors, row.norms)
        values = np.stack([rms, row.largest, row.zeros, weights, updates], axis=1)
        self._watching.detail(Detail(number, values, np.zeros((0, 3)), ()))


def _rms(values: Any) -> Any:
    return ops.sqrt(ops.mean(ops.square(ops.cast(values, "float32"))))
