"""Watches every optimizer that a loop of the script's own steps, one run for each."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from functools import partial, wraps
from typing import Any

import keras

from evengrad.adapters.common.patching import Patches
from evengrad.adapters.common.sessions import LiveSession
from evengrad.adapters.keras import compat
from evengrad.adapters.keras.measure.update import is_copy
from evengrad.adapters.keras.tap import native
from evengrad.adapters.keras.tap.listening import Applied, Listening, LossScaled
from evengrad.adapters.keras.tap.loop import WatchedLoop
from evengrad.adapters.keras.tap.mistakes import LoopFacts
from evengrad.adapters.keras.tap.native import Differentiated
from evengrad.recording.guard import GuardStopError
from evengrad.recording.session import Watching
from evengrad.values.fact import Fact


class Loops:
    """Steps in where an optimizer is given its gradients; what ``fit`` is watched by goes first.

    Args:
        session: to report to.
        hearing: of the script's losses.
        patches: to be undone at the end.

    Attributes:
        of_fit: the run of an optimizer that ``fit`` steps by a ``train_step`` of the user's; None of others.
        elsewhere: the run of an optimizer that is not watched here.
    """

    def __init__(self, session: LiveSession, hearing: Listening, patches: Patches) -> None:
        self.session, self._hearing = session, hearing
        self.of_fit: Callable[[Any], Watching | None] = lambda _: None
        self.loops: dict[int, WatchedLoop] = {}
        self._unwatched: dict[int, Any] = {}  # kept, so that an id is that optimizer's
        self._recent: deque[Differentiated] = deque(maxlen=8)
        self._scaled: deque[LossScaled] = deque(maxlen=8)
        self._compiled: list[bool] = []
        self._inside: list[Any] = []  # optimizers in LossScaleOptimizers that step now
        self._alone: dict[int, WatchedLoop] = {}  # those that have heard a loss of nobody else
        hearing.differentiated.append(self._differentiated)
        hearing.scaled.append(self._scaled.append)
        self.elsewhere: Callable[[Any], Watching | None] = lambda _: None
        self._mistakes = LoopFacts(hearing, self._tell, patches)
        if keras.backend.backend() == "jax":
            for cls in (keras.optimizers.Optimizer, keras.optimizers.LossScaleOptimizer):
                patches.wrap(cls, "stateless_apply", self._stepping_jax)
        else:
            for cls in (keras.optimizers.Optimizer, keras.optimizers.LossScaleOptimizer):
                patches.wrap(cls, "apply", self._stepping)
                compat.leave_unconverted(vars(cls)["apply"])
        if keras.backend.backend() == "tensorflow":
            patches.wrap(compat.function_class(), "__call__", self._calling)
        patches.on_undo(self.remove)

    def remove(self) -> None:
        """Take every watch off."""
        self._mistakes.ended()
        for loop in self.loops.values():
            loop.take_off()

    def leave(self, optimizer: Any) -> None:
        """Leave an optimizer to ``fit``, which is watched by itself."""
        loop = self.loops.pop(id(optimizer), None)
        if loop is not None:
            loop.take_off()

    # --- what the script does --------------------------------------------------------------------

    def _stepping(self, original: Any) -> Any:
        @wraps(original)
        def apply(optimizer: Any, grads: Any, trainable_variables: Any = None) -> Any:
            if self._passes(optimizer):
                return original(optimizer, grads, trainable_variables)
            given = list(grads)
            own = None if trainable_variables is None else list(trainable_variables)
            native.met(lambda: self._start(optimizer, own or compat.trained_by(optimizer)))
            if id(optimizer) in self._unwatched:
                return original(optimizer, given, own)
            return optimizer.apply(given, own)

        return apply

    def _stepping_jax(self, original: Any) -> Any:
        @wraps(original)
        def stateless_apply(optimizer: Any, state: Any, grads: Any, trained: Any) -> Any:
            given = list(state), list(grads), list(trained)
            if id(optimizer) not in self.loops and not self._passes(optimizer):
                self._start(optimizer, compat.trained_by(optimizer))
            loop: Any = self.loops.get(id(optimizer))
            if loop is None or not loop.on or "apply" in vars(optimizer):
                return original(optimizer, *given)
            self._inside.append(getattr(optimizer, "inner_optimizer", None))
            try:
                return loop.step(lambda: original(optimizer, *given), *given)
            finally:
                self._inside.pop()

        return stateless_apply

    def _passes(self, optimizer: Any) -> bool:
        """Whether it is watched already, by whomever, or never will be."""
        mine = id(optimizer) in self._unwatched or any(o is optimizer for o in self._inside)
        return mine or is_copy(optimizer) or "apply" in vars(optimizer) or self.session.closed

    def _start(self, optimizer: Any, variables: list[Any]) -> None:
        if self._passes(optimizer):
            return
        try:
            self._watch(optimizer, variables)
        except Exception as error:
            self._unwatched[id(optimizer)] = optimizer
            self.session.trouble(error)

    def _watch(self, optimizer: Any, variables: list[Any]) -> None:
        session = self.session
        with native.outside(), self._hearing.paused():
            if not optimizer.built:
                optimizer.build(variables)
            loop = _kind()(optimizer, variables, session.settings, session.watching, session.script)
            before = self.loops.get(id(optimizer))
            loop.given = self._given
            loop.put_on(None if before is None else before.watching)
        self.loops[id(optimizer)] = loop
        loop.tap.jit = any(self._compiled)
        for event in self._recent:
            loop.hear(self._unscaled(event), self._mistakes.losses)
            self._turn(event)

    def _differentiated(self, event: Differentiated) -> None:
        self._recent.append(event)
        for loop in self.loops.values():
            if loop.on:
                loop.tap.jit = any(self._compiled)
                loop.hear(self._unscaled(event), self._mistakes.losses)
        self._turn(event)

    def _turn(self, event: Differentiated) -> None:
        """Optimizers that each have a loss of their own take turns, as in a GAN."""
        sources = {id(source) for source in event.sources}
        own = [one for one in self.loops.values() if any(id(v) in sources for v in one.variables)]
        if len(own) == 1:
            self._alone[id(own[0])] = own[0]
        for loop in self._alone.values() if len(self._alone) > 1 else ():
            if loop.watching is not None:
                loop.watching.seen(interleaved=True)

    def _given(self, optimizer: Any, grads: Any, variables: Any) -> Any:
        """A loop's optimizer steps."""
        known = compat.trained_by(optimizer) if variables is None else variables
        return self._hearing.given(Applied(optimizer, tuple(grads), tuple(known)))

    def _tell(self, optimizer: Any, fact: Fact) -> None:
        """A fact of a loop's."""
        loop = self.loops.get(id(optimizer))
        whole = fact.kind in ("weights_unreached", "weights_unheld", "terms_mixed")
        elsewhere = self.elsewhere if whole else self.of_fit
        watching = elsewhere(optimizer) if loop is None else loop.watching
        if watching is not None:
            told = fact.kind == "accumulation_undivided"  # whether it matters the end tells
            watching.suspect(fact) if told else watching.fact(fact)

    def _unscaled(self, event: Differentiated) -> Differentiated:
        """With the loss that the script would print, where an optimizer has scaled it."""
        for scaled in self._scaled:
            if scaled.scaled is event.target:
                return Differentiated(scaled.loss, event.sources, event.gradients)
        return event

    def _calling(self, original: Any) -> Any:
        """A ``tf.function``: the host looks behind the outermost call of all."""

        @wraps(original)
        def call(function: Any, *args: Any, **kwargs: Any) -> Any:
            outermost = native.run_by_host() and not self._compiled
            self._compiled.append(compat.compiles_by_xla(function))
            loops = [loop for loop in self.loops.values() if loop.on] if outermost else []
            for loop in loops:
                loop.before()
            try:
                found = original(function, *args, **kwargs)
            finally:
                self._compiled.pop()
            if outermost:
                for loop in self.loops.values():
                    loop.learn(partial(loop.lesson.called, args))
                self._mistakes.called()
                self._look()
            return found

        return call

    def _look(self) -> None:
        stopped: GuardStopError | None = None
        for loop in list(self.loops.values()):
            if loop.on:
                try:
                    loop.after()
                except GuardStopError as error:
                    stopped = stopped or error
        if stopped is not None:
            raise stopped


def _kind() -> type[WatchedLoop]:
    if keras.backend.backend() != "jax":
        return WatchedLoop
    from evengrad.adapters.keras.tap.loop_jax import WatchedLoopInJax

    return WatchedLoopInJax
