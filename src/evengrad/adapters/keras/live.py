"""Watches every model that the user's own script trains by ``fit`` or ``train_on_batch``."""

from __future__ import annotations

import inspect
from functools import wraps
from typing import Any

import keras

from evengrad.adapters.common.sessions import Armed, LiveSession
from evengrad.adapters.keras.tap.deferred import Deferred
from evengrad.adapters.keras.tap.watched import Watched
from evengrad.adapters.keras.watch import Watch
from evengrad.values.run import RunStatus


def arm(session: LiveSession) -> Armed:
    """From now on: each model is watched from its first training step on, one run for each optimizer."""
    live = _Live(session)
    originals = {name: getattr(keras.Model, name) for name in ("fit", "train_on_batch")}
    keras.Model.fit = _fitting(live, originals["fit"])
    keras.Model.train_on_batch = _stepping(live, originals["train_on_batch"])

    def disarm() -> None:
        live.remove()
        for name in originals:
            if hasattr(keras.Model.__dict__.get(name), "__wrapped__"):
                delattr(keras.Model, name)

    return Armed(disarm=disarm, flush=lambda: None)


class _Live:
    def __init__(self, session: LiveSession) -> None:
        self.session = session
        self._watched: list[Watched] = []
        self._now: list[Deferred] = []

    def begin(self, model: Any) -> None:
        """Watch this model's training function."""
        if self.session.closed or model.optimizer is None:
            return
        session = self.session

        def start() -> tuple[Watched, Any]:
            same = [w for w in self._watched if w.optimizer is model.optimizer]
            last = same[-1] if same else None
            if last is not None and last.fits(model, session.settings):
                return last, last.put_on(last.watching)
            new = Watched(model, session.settings, session.watching, session.script)
            self._watched.append(new)
            return new, new.put_on()

        self._now.append(Deferred(model, start, session.trouble, self._ended))

    def watches(self, model: Any) -> bool:
        """Whether it is watched now."""
        return any(d.model is model and d.installed for d in self._now)

    def remove(self, model: Any = None) -> None:
        """Leave this model, or all; their runs stay open for the session to end."""
        going = [d for d in self._now if model is None or d.model is model]
        self._now = [d for d in self._now if d not in going]
        for deferred in going:
            deferred.remove()

    def _ended(self, _status: RunStatus) -> None:
        """The session says how the runs ended, when the script is over."""


class _Begin(keras.callbacks.Callback):
    """Lets the watch begin when ``fit`` has its training function."""

    def __init__(self, live: _Live) -> None:
        super().__init__()
        self._live = live

    def on_train_begin(self, logs: Any = None) -> None:
        self._live.begin(self.model)


def _fitting(live: _Live, original: Any) -> Any:
    signature = inspect.signature(original)

    @wraps(original)
    def fit(model: Any, *args: Any, **kwargs: Any) -> Any:
        bound = signature.bind(model, *args, **kwargs)
        given = bound.arguments.get("callbacks")
        own = given.callbacks if isinstance(given, keras.callbacks.CallbackList) else given
        flat = keras.tree.flatten(own) if own else []
        if live.session.closed or any(isinstance(c, Watch) for c in flat):
            return original(*bound.args, **bound.kwargs)
        live.remove(model)
        begin = _Begin(live)
        if isinstance(given, keras.callbacks.CallbackList):
            begin.set_model(model)
            given.callbacks.append(begin)
        else:
            bound.arguments["callbacks"] = [*flat, begin]
        try:
            return original(*bound.args, **bound.kwargs)
        finally:
            live.remove(model)
            if isinstance(given, keras.callbacks.CallbackList):
                given.callbacks.remove(begin)

    return fit


def _stepping(live: _Live, original: Any) -> Any:
    @wraps(original)
    def train_on_batch(model: Any, *args: Any, **kwargs: Any) -> Any:
        if not live.watches(model) and model.compiled:
            model.make_train_function()
            live.begin(model)
        return original(model, *args, **kwargs)

    return train_on_batch
