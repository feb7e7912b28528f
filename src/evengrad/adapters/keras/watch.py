"""``evengrad.keras.Watch``: a callback for ``Model.fit``."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras

from evengrad.adapters.keras.tap.deferred import DeferredWatch
from evengrad.adapters.keras.tap.quiet import Unharmed
from evengrad.adapters.keras.tap.watched import Watched
from evengrad.errors import EvengradError
from evengrad.recording import failure
from evengrad.recording.clip import Clip
from evengrad.recording.guard import Guard
from evengrad.recording.listener import RunListener
from evengrad.recording.session import Watching
from evengrad.recording.settings import settings_of
from evengrad.values.message import msg
from evengrad.values.run import RunStatus, Subject

log = logging.getLogger("evengrad")


def watch(model: Any, _optimizer: Any, _settings: Any, _listener: Any = None) -> Any:
    """What ``evengrad.watch`` says to a Keras model. Raises EvengradError."""
    raise EvengradError(
        msg(
            "Expected a torch.nn.Module, got {kind}, a Keras model. Watch it by a callback: "
            "model.fit(..., callbacks=[evengrad.keras.Watch()]).",
            kind=type(model).__name__,
        )
    )


class Watch(keras.callbacks.Callback):
    """Statistics, clip and guard in ``model.fit(callbacks=[Watch(...)])``, on every backend.

    Each fit writes a run of its own, whose file is ``watch.watching.path``. The logs that Keras hands on get
    grad_norm, grad_norm_clipped and grad_clipped_share, as they were last read. With
    gradient_accumulation_steps each batch counts as a step.

    Args:
        clip: as in ``evengrad.watch``.
        guard: as in ``evengrad.watch``. "stop" raises ``evengrad.GuardStopError`` out of ``fit``; weights,
            optimizer state and moving statistics are then those of before the refused step.
        every: steps between two that are read in full.
        folder: where the run goes, in TIME-NAME; None: nowhere.
        name: of the run; "fit" by default.
        listener: as in ``evengrad.watch``.
        to: as in ``evengrad.watch``.

    Raises:
        EvengradError: settings that are not understood.

    References:
        docs/theory.md, "Clipping".
    """

    async_safe = True  # it reads nothing at the ends of batches

    def __init__(
        self,
        clip: str | float | Clip | None = None,
        guard: str | Guard | None = "stop",
        every: int = 10,
        folder: str | Path | None = "runs",
        name: str | None = None,
        *,
        listener: RunListener | None = None,
        to: str | Sequence[str] | None = None,
    ) -> None:
        super().__init__()
        self.settings = settings_of(clip, guard, every, folder, name or "fit", to)
        self.watching: Watching | None = None
        self._listener = listener
        self._deferred: DeferredWatch | None = None
        self._watched: Watched | None = None
        self._unharmed = Unharmed()

    def on_train_begin(self, logs: Any = None) -> None:
        """Watch from the first batch on."""
        self._unharmed = Unharmed()
        self._unharmed(self._put_on)

    def _put_on(self) -> None:
        self.remove("interrupted")
        if DeferredWatch.watches(self.model):
            log.warning("evengrad watches this training already; a second Watch writes no run.")
            return
        self._deferred = DeferredWatch(self.model, self._start, self._failed, self._end)

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        """Hand the figures on."""
        self._unharmed(self._add, logs)

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Hand the figures on."""
        self._unharmed(self._add, logs)

    def on_train_end(self, logs: Any = None) -> None:
        """The run is complete."""
        Unharmed()(self.remove)

    def remove(self, status: RunStatus = "finished") -> None:
        """Stop watching, and leave no trace in the model. Twice is once.

        Args:
            status: what the run file says of how it ended.
        """
        if self._deferred is not None:
            self._deferred.remove()
            self._end(status)
            self._deferred = None

    def _start(self) -> tuple[Watched, Any]:
        if self._watched is None or not self._watched.fits(self.model, self.settings):
            self._watched = Watched(self.model, self.settings, self._begin, self.settings.name)
        return self._watched, self._watched.put_on()

    def _begin(self, subject: Subject) -> Watching:
        self.watching = Watching(self.settings, subject, self._listener)
        return self.watching

    def _failed(self, error: Exception) -> None:
        if isinstance(error, EvengradError):
            raise error
        failure.tell(error)

    def _end(self, status: RunStatus) -> None:
        if self.watching is not None:
            self.watching.end(status)

    def _add(self, logs: Any) -> None:
        watched = None if self._deferred is None else self._deferred.watched
        if isinstance(logs, dict) and watched is not None and watched.latest is not None:
            latest = watched.latest
            logs["grad_norm"] = latest.norm
            if self.settings.clip is not None:
                logs["grad_norm_clipped"] = latest.clipped
                logs["grad_clipped_share"] = watched.bound / max(watched.counted, 1)
