"""Watches every model that the user's own script fits."""

from __future__ import annotations

from functools import wraps
from typing import Any

import keras

from evengrad.adapters import Armed, LiveSession
from evengrad.adapters.keras.watcher import Watcher

_PATCHED = ("fit", "train_on_batch")


def arm(session: LiveSession) -> Armed:
    """From now on: each model is watched from its first ``fit`` or ``train_on_batch`` to the end."""
    live = _Live(session)
    return Armed(disarm=live.disarm, flush=lambda: None)


class _Live:
    def __init__(self, session: LiveSession) -> None:
        self.session = session
        self.watchers: dict[int, Watcher] = {}
        self._originals = {name: getattr(keras.Model, name) for name in _PATCHED}
        keras.Model.fit = self._fit(self._originals["fit"])
        keras.Model.train_on_batch = self._single(self._originals["train_on_batch"])

    def disarm(self) -> None:
        """Take everything off."""
        for name in _PATCHED:
            if hasattr(keras.Model.__dict__.get(name), "__wrapped__"):
                delattr(keras.Model, name)
        for watcher in self.watchers.values():
            watcher.finish()
            watcher.detach()

    def attach(self, model: Any) -> Watcher | None:
        """The model's watcher; made now, as soon as the model is built."""
        if id(model) not in self.watchers and not self.session.closed:
            try:
                session = self.session
                watcher = Watcher(model, session.settings, session.watching, session.script)
                self.watchers[id(model)] = watcher
            except Exception as error:
                self.session.trouble(error)
        return self.watchers.get(id(model))

    def _fit(self, original: Any) -> Any:
        live = self

        @wraps(original)
        def fit(model: Any, *args: Any, **kwargs: Any) -> Any:
            given = kwargs.pop("callbacks", None)
            place = 5  # of ``callbacks`` after the model: x, y, batch_size, epochs, verbose
            if given is None and len(args) > place:
                given, args = args[place], (*args[:place], None, *args[place + 1 :])
            callback = _Callback(live)
            if isinstance(given, keras.callbacks.CallbackList):
                given.append(callback)
                callback.set_model(given.model)
            else:
                given = [*(keras.tree.flatten(given) if given else []), callback]
            if len(args) > place:
                args = (*args[:place], given, *args[place + 1 :])
            else:
                kwargs["callbacks"] = given
            return original(model, *args, **kwargs)

        return fit

    def _single(self, original: Any) -> Any:
        live = self

        @wraps(original)
        def train_on_batch(model: Any, *args: Any, **kwargs: Any) -> Any:
            watcher = live.watchers.get(id(model))
            if watcher is None and model.built and model.compiled:
                watcher = live.attach(model)
            if watcher is not None:
                watcher.batch_begin()
            result = original(model, *args, **kwargs)
            if watcher is not None:
                watcher.batch_end()
            return result

        return train_on_batch


class _Callback(keras.callbacks.Callback):
    """Rides along in one ``fit`` of the script's."""

    def __init__(self, live: _Live) -> None:
        super().__init__()
        self._live = live
        self._watcher: Watcher | None = None

    def on_train_begin(self, logs: Any = None) -> None:
        self._watcher = self._live.attach(self.model)
        if self._watcher is not None:
            self.model.make_train_function()

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        if self._watcher is not None:
            self._watcher.batch_begin()

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        if self._watcher is not None:
            self._watcher.batch_end()

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        if self._watcher is not None:
            self._watcher.finish()
