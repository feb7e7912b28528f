"""``evengrad.keras.Watch``: statistics, clip and guard in ``model.fit``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras

from evengrad.adapters.keras.watcher import Watcher
from evengrad.clip import Clip
from evengrad.guard import Guard
from evengrad.watching import Watching, settings_of


class Watch(keras.callbacks.Callback):
    """Watch a Keras training on any backend: ``model.fit(..., callbacks=[evengrad.keras.Watch()])``.

    clip: a bound for the norm of all gradients, "auto", or another kind. guard: "stop", "skip:3",
    "rollback:2" or None. every: steps between two that are read in full. folder: where the run file goes; None:
    nowhere. ``grad_norm``, ``grad_norm_max`` and, with a clip, ``grad_clipped_share`` of each epoch appear in
    Keras' logs.

    A step that the guard holds back raises ``evengrad.GuardStopError`` from ``fit`` with guard="stop"; the
    weights are as they were before it. Raises EvengradError for settings that are not understood.
    """

    def __init__(
        self,
        clip: str | float | Clip | None = None,
        guard: str | Guard | None = "stop",
        every: int = 10,
        folder: str | Path | None = "runs",
        name: str = "run",
    ) -> None:
        super().__init__()
        self._settings = settings_of(clip, guard, every, folder, name)
        self._watcher: Watcher | None = None
        self.watching: Watching | None = None

    def on_train_begin(self, logs: Any = None) -> None:
        """Attach to the model that is about to be trained."""
        chosen = self._settings

        def begin(subject: Any) -> Watching:
            return Watching(chosen, subject)

        self._watcher = Watcher(self.model, chosen, begin, chosen.name)
        self.watching = self._watcher.watching
        self.model.make_train_function()

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        """Before a step."""
        if self._watcher is not None:
            self._watcher.batch_begin()

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        """After a step; raises GuardStopError."""
        if self._watcher is None:
            return
        try:
            self._watcher.batch_end()
        except BaseException:
            self._end("stopped")
            raise

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """The epoch's figures go into the logs."""
        if self._watcher is not None and logs is not None:
            self._watcher.finish()
            logs.update(self._watcher.figures())

    def on_train_end(self, logs: Any = None) -> None:
        """Take everything out of the model again."""
        self._end("finished")

    def _end(self, status: Any) -> None:
        if self._watcher is not None:
            self._watcher.finish()
            self._watcher.detach()
            self._watcher.watching.end(status)
            self._watcher = None
