"""Watches every model that the user's own script trains by ``fit`` or ``train_on_batch``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras

from evengrad.adapters.common.patching import Patches
from evengrad.adapters.common.sessions import Armed, LiveSession
from evengrad.adapters.common.source import where
from evengrad.adapters.keras.facts.unheld import unheld
from evengrad.adapters.keras.intercept import callbacks_of, called_back, intercept
from evengrad.adapters.keras.tap.classes import class_facts
from evengrad.adapters.keras.tap.deferred import DeferredWatch
from evengrad.adapters.keras.tap.idle import idle
from evengrad.adapters.keras.tap.inputs import FitInputs
from evengrad.adapters.keras.tap.listening import Listening
from evengrad.adapters.keras.tap.loops import Loops
from evengrad.adapters.keras.tap.quiet import Unharmed
from evengrad.adapters.keras.tap.subject import subject_of
from evengrad.adapters.keras.tap.watched import Watched
from evengrad.adapters.keras.watch import Watch
from evengrad.recording.session import Watching
from evengrad.values.fact import Fact
from evengrad.values.run import RunStatus


def arm(session: LiveSession) -> Armed:
    """From now on: each model is watched from its first training step on, one run for each optimizer."""
    patches = Patches(session.trouble)
    live = _KerasLive(session, Loops(session, Listening(patches), patches))
    intercept(
        patches,
        {
            "fit": live.fit,
            "train_on_batch": live.train_on_batch,
            "evaluate": live.asked,
            "predict": live.asked,
        },
    )
    patches.on_undo(live.end)
    return Armed(disarm=patches.undo, flush=lambda: None)


class _KerasLive:
    def __init__(self, session: LiveSession, loops: Loops) -> None:
        self.session, self._loops = session, loops
        loops.of_fit = self._own_step
        loops.elsewhere = self._run_of
        self._watched: list[Watched] = []
        self._now: list[DeferredWatch] = []
        self._turns: list[Any] = []  # models that were trained by batches, the last one last
        self._inputs = FitInputs()
        self._idle: list[Any] = []  # models without anything to train that were told of

    def begin(self, model: Any) -> None:
        """Watch this model's training function."""
        if self.session.closed or model.optimizer is None or _steps_itself(model):
            return
        session = self.session
        if (nothing := idle(model)) is not None:
            self._tell_idle(model, nothing)
            return

        def start() -> tuple[Watched, Any]:
            self._loops.leave(model.optimizer)
            loose = unheld(model)
            found = put_on()
            if loose is not None and found[0].watching is not None:
                found[0].watching.fact(loose)
            return found

        def put_on() -> tuple[Watched, Any]:
            same = [w for w in self._watched if w.optimizer is model.optimizer]
            last = same[-1] if same else None
            if last is not None and last.fits(model, session.settings):
                return last, last.put_on(last.watching)
            new = Watched(model, session.settings, session.watching, session.script)
            self._watched.append(new)
            return new, new.put_on()

        self._now.append(DeferredWatch(model, start, session.trouble, self._ended))

    def validated(self, model: Any, loss: float) -> None:
        """An epoch of ``fit`` was."""
        for one in reversed(self._watched):
            if one.model is model and one.watching is not None:
                one.watching.validated(loss)
                return

    def _run_of(self, optimizer: Any) -> Watching | None:
        known = [w for w in self._watched if w.optimizer is optimizer]
        return known[-1].watching if known else None

    def fit(self, model: Any, given: dict[str, Any], go_on: Callable[[], Any]) -> Any:
        """Around ``Model.fit``; one that has a ``Watch`` of its own is left to that."""
        if self.session.closed or any(
            isinstance(c, Watch) for c in callbacks_of(given["callbacks"])
        ):
            return go_on()
        self.remove(model)
        told: tuple[Fact, ...] = ()
        try:
            told = (
                *class_facts(model, given, where()),
                *self._inputs.trained(model, given, where()),
            )
            with called_back(given, model, _Begin(self)):
                return go_on()
        finally:
            watching = self._run_of(model.optimizer)
            if watching is not None:
                for fact in told:
                    watching.fact(fact)
            self.remove(model)

    def asked(self, model: Any, given: dict[str, Any], go_on: Callable[[], Any]) -> Any:
        """Around ``Model.evaluate`` and ``Model.predict``."""
        optimizer = getattr(model, "optimizer", None)
        watching = None if self.session.closed else self._run_of(optimizer)
        if watching is not None:
            for fact in self._inputs.evaluated(model, given["x"], where()):
                watching.fact(fact)
        return go_on()

    def train_on_batch(self, model: Any, _: dict[str, Any], go_on: Callable[[], Any]) -> Any:
        """Around ``Model.train_on_batch``."""
        if not self.watches(model) and model.compiled:
            model.make_train_function()
            self.begin(model)
        self._turn(model)
        return go_on()

    def _tell_idle(self, model: Any, nothing: Fact) -> None:
        """A training of nothing has a run of its own, without steps."""
        if any(model is other for other in self._idle):
            return
        self._idle.append(model)
        session = self.session
        subject = subject_of(model, model.optimizer, (), session.settings, session.script)
        session.watching(subject).fact(nothing)

    def _turn(self, model: Any) -> None:
        """Models whose batches take turns train against or upon one another."""
        if self._turns and self._turns[-1] is not model:
            if any(model is other for other in self._turns):
                for deferred in self._now:
                    if deferred.watched is not None and deferred.watched.watching is not None:
                        deferred.watched.watching.seen(interleaved=True)
            self._turns = [other for other in self._turns if other is not model]
        if not self._turns or self._turns[-1] is not model:
            self._turns.append(model)

    def watches(self, model: Any) -> bool:
        """Whether it is watched now."""
        return any(d.model is model and d.installed for d in self._now)

    def remove(self, model: Any = None) -> None:
        """Leave this model, or all; their runs stay open for the session to end."""
        going = [d for d in self._now if model is None or d.model is model]
        self._now = [d for d in self._now if d not in going]
        for deferred in going:
            deferred.remove()

    def end(self) -> None:
        """The script is over."""
        self.remove()
        for model in {id(w.model): w.model for w in self._watched}.values():
            last = [w for w in self._watched if w.model is model][-1]
            if not any(model is other for other in self._turns[:-1]):
                last.evaluate()

    def _own_step(self, optimizer: Any) -> Watching | None:
        """The run of a model with a ``train_step`` of the user's, which JAX leaves to ``fit``."""
        for one in reversed(self._watched):
            if (
                one.optimizer is optimizer
                and type(one.model).train_step is not keras.Model.train_step
            ):
                return one.watching
        return None

    def _ended(self, _status: RunStatus) -> None:
        """The session says how the runs ended, when the script is over."""


def _steps_itself(model: Any) -> bool:
    """Whether its ``train_step`` is the user's own, in which optimizers may be stepped that Keras does not know
    of; these are watched one by one. (JAX hands their state round where only ``fit`` reaches it.)
    """
    return keras.backend.backend() != "jax" and type(model).train_step is not keras.Model.train_step


class _Begin(keras.callbacks.Callback):
    """Lets the watch begin when ``fit`` has its training function."""

    async_safe = True  # it has nothing to do with batches

    def __init__(self, live: _KerasLive) -> None:
        super().__init__()
        self._live, self._unharmed = live, Unharmed(live.session.trouble)

    def on_train_begin(self, logs: Any = None) -> None:
        """The first batch is to come."""
        self._unharmed(self._live.begin, self.model)

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """What was validated, if anything."""
        value = (logs or {}).get("val_loss")
        if value is not None:
            self._unharmed(self._live.validated, self.model, float(value))
