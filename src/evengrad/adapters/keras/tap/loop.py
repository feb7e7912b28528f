"""One optimizer that the script's own loop steps, watched: eager, or in the script's ``tf.function``."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from typing import Any

import keras
from keras import ops

from evengrad.adapters.common.origin import by_gradients
from evengrad.adapters.common.patching import Patches
from evengrad.adapters.keras.measure.update import unscaled
from evengrad.adapters.keras.tap import native
from evengrad.adapters.keras.tap.access import Direct
from evengrad.adapters.keras.tap.batches import Batches
from evengrad.adapters.keras.tap.called import CalledLoss
from evengrad.adapters.keras.tap.holders import Holders
from evengrad.adapters.keras.tap.loop_lesson import LoopLesson
from evengrad.adapters.keras.tap.native import Differentiated
from evengrad.adapters.keras.tap.ring import AnyRing, HostRing, LooseRing, RingRow
from evengrad.adapters.keras.tap.snapshot import small_rest
from evengrad.adapters.keras.tap.subject import box_of, subject_of
from evengrad.adapters.keras.tap.tap import KerasTap
from evengrad.adapters.keras.tap.watched import Watched, expect_clip
from evengrad.recording.blackbox import BlackBox
from evengrad.recording.session import Watching
from evengrad.recording.settings import Settings
from evengrad.values.run import EventKind, Step, Subject

log = logging.getLogger("evengrad")
_ROWS = 64  # steps that one compiled call may make before the host looks


class WatchedLoop(Watched):
    """A built optimizer with the weights that the script gives it. begin: makes the Watching of a subject.

    Attributes:
        given: called with the optimizer, the gradients and their variables before each step, and entered.
    """

    def __init__(
        self,
        optimizer: Any,
        variables: Sequence[Any],
        settings: Settings,
        begin: Callable[[Subject], Watching],
        script: str,
    ) -> None:
        self.model = Holders(variables)
        self.optimizer, self.settings = optimizer, settings
        self.inner = unscaled(optimizer)
        expect_clip(self.inner, settings, native.has_strategy())
        own = {id(v) for v in variables}
        self.variables = [v for v in self.model.variables if id(v) in own]
        self.subject = subject_of(self.model, self.inner, self.variables, settings, script)
        self.watching: Watching | None = None
        self.on = False
        self.latest: Step | None = None
        self.bound = self.counted = 0
        self._begin, self._script = begin, script
        self._per_call = 1
        self._patches = Patches(self._failed)
        self.given: Callable[..., Any] = lambda *_: nullcontext()
        self.lesson = LoopLesson()
        self._make()
        self._restart()

    def _make(self) -> None:
        count, settings = len(self.tensors), self.settings
        corruptible = (
            [] if settings.guard is None or native.has_strategy() else small_rest(self.model)
        )
        self.ring: AnyRing
        kind: type[KerasTap] = KerasTap
        if keras.backend.backend() == "torch":
            from evengrad.adapters.keras.tap.tap_torch import TorchTap

            self.ring, kind = HostRing(count, _ROWS, settings, corruptible), TorchTap
        else:
            self.ring = LooseRing(self.inner, count, _ROWS, settings, corruptible)
        self.batches = Batches(1, lambda _: None)  # the host sees none
        self.tap = kind(
            self.optimizer, self.variables, self.tensors, self.ring, settings, self._failed
        )
        self.tap.then = self._keep
        self.tap.together = ops.sum  # as the replicas' gradients are added up
        for variable, copy in self.ring.before:
            copy.assign(variable)

    # --- on and off ----------------------------------------------------------------------------

    def put_on(self, watching: Watching | None = None) -> None:
        """Begin to watch. watching: a run to go on with."""
        self.watching = watching or self._begin(self.subject)
        self.access = Direct()
        self.tap.put_on()
        self._patches.wrap(self.optimizer, "apply", self._around)
        self.on = True

    def take_off(self, flush: bool = True) -> None:
        """Take every patch off. Twice is once. flush: read what was not read yet."""
        if not self.on:
            return
        self.on = False
        if self.watching is not None and self.lesson.values():
            self.watching.seen(**self.lesson.values())
        if flush:
            self._flush()
        self._patches.undo()
        self.tap.take_off()

    # --- around a step -------------------------------------------------------------------------

    def _around(self, original: Any) -> Any:
        """The optimizer's ``apply``: what is run by the host is looked at behind it, what is only traced now
        behind the compiled call.
        """

        def apply(grads: Any, trainable_variables: Any = None) -> Any:
            whole = list(grads)
            own = None if trainable_variables is None else list(trainable_variables)
            with self.given(self.optimizer, whole, own):
                return step(whole, own)

        def step(grads: Any, trainable_variables: Any) -> Any:
            if not native.run_by_host():
                return original(grads, trainable_variables)
            self.before()
            found = original(grads, trainable_variables)
            self.after()
            return found

        return apply

    def hear(self, event: Differentiated, losses: Sequence[CalledLoss] = ()) -> None:
        """The loss of the step that comes, where these weights are what it was differentiated by.

        Args:
            event: that differentiation.
            losses: that were called since the last step.
        """
        sources = {id(s) for s in event.sources}
        if not event.sources or any(id(v) in sources for v in self.variables):
            self.tap.loss = loss_of(event.target)
            self.learn(lambda: self.lesson.differentiated(event, list(losses)))

    def learn(self, take: Callable[[], bool]) -> None:
        """Take what shows the loop's targets, and tell the run."""
        try:
            if take() and self.watching is not None:
                self.watching.seen(**self.lesson.values())
        except Exception as error:
            log.info("the constant baseline is not known: %s", error)

    def _keep(self, passed: Any) -> None:
        """Moving statistics as the last good step left them, to be put back after one that is not."""
        for variable, copy in self.ring.before:
            if keras.backend.backend() == "torch":
                copy.value.copy_(variable.value if passed else copy.value)
            else:
                copy.assign(ops.where(passed, variable.value, copy.value))

    def _look_after(self) -> None:
        if self._watching.off:
            return
        begun = self.ring.read_status(self.access).begun
        if begun != self._begun + 1:
            self._before = None  # several steps in one call: no update is that of one step
        self._read = max(self._read, begun - self.ring.size)
        super()._look_after()

    # --- what only a model's own training has ---------------------------------------------------

    def _box(self, step: Step, row: RingRow, kind: EventKind) -> BlackBox:
        found = None
        if kind is EventKind.NON_FINITE:
            found = by_gradients(self.tensors, row.norms)
        given: tuple[Any, ...] = (self.tensors, step, row.norms, kind, None, found)
        return box_of(self.model, self.inner, *given)


def loss_of(target: Any) -> Any:
    """A target of differentiation as a float32 scalar; None where it is not reached from here."""
    parts = [part for part in keras.tree.flatten(target) if part is not None]
    if not parts or not all(map(native.reached, parts)):
        return None
    total = sum(ops.sum(ops.cast(part, "float32")) for part in parts)
    return ops.stop_gradient(total)
