"""The watches of one fit of a trainer: one for each of its optimizers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from evengrad.adapters.torch.watch import WatchHandle
from evengrad.recording import failure
from evengrad.recording.clip import Clip
from evengrad.recording.guard import Guard
from evengrad.recording.listener import RunListener
from evengrad.recording.session import Watching
from evengrad.recording.settings import Settings, settings_of
from evengrad.values.run import RunStatus


class TrainerWatch:
    """What the callback classes share. An error of ours leaves the fit unwatched, and is said.

    Args:
        clip: as in ``evengrad.watch``.
        guard: as there.
        every: as there.
        folder: as there.
        name: of the run.
        listener: as there.
        to: as there.
    """

    def __init__(
        self,
        clip: str | float | Clip | None,
        guard: str | Guard | None,
        every: int,
        folder: str | Path | None,
        name: str,
        listener: RunListener | None,
        to: str | Sequence[str] | None,
    ) -> None:
        self._settings = settings_of(clip, guard, every, folder, name, to)
        self._listener = listener
        self._handles: list[WatchHandle] = []

    @property
    def watchings(self) -> list[Watching]:
        """The runs of this fit or the last one, one for each optimizer."""
        return [handle.watching for handle in self._handles]

    def begin(self, model: Any, optimizers: Sequence[Any], *, first: bool) -> None:
        """A fit begins. first: whether this process is the one that writes the run."""
        self._handles = []
        settings: Settings = (
            self._settings if first else replace(self._settings, folder=None, to=())
        )
        for optimizer in optimizers:
            try:
                handle = WatchHandle(model, optimizer, settings, self._listener)
            except Exception as error:
                failure.tell(error)
            else:
                self._handles.append(handle)

    def end(self, status: RunStatus) -> None:
        """It is over; twice is once. A guard that stopped a run has said what it ended by."""
        for handle in self._handles:
            stopped = handle.watching.stopped is not None
            handle.remove("stopped" if stopped else status)
