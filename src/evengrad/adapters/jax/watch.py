"""``evengrad.watch`` for a training with optax."""

from __future__ import annotations

from types import TracebackType
from typing import Any

from evengrad.adapters.common.patching import Patches
from evengrad.adapters.jax.tap.seams import put_on
from evengrad.adapters.jax.tap.tap import Taps
from evengrad.errors import EvengradError
from evengrad.recording import failure
from evengrad.recording.listener import RunListener
from evengrad.recording.session import Watching
from evengrad.recording.settings import Settings
from evengrad.values.message import msg
from evengrad.values.run import RunStatus, Subject


class OptaxWatch:
    """A training with one optax optimizer being watched; a context manager, or a handle with ``remove()``.

    What is compiled while it is open stays watched until it is closed, and is silent after that.
    """

    def __init__(
        self, model: Any, optimizer: Any, settings: Settings, listener: RunListener | None = None
    ) -> None:
        del model
        update = getattr(optimizer, "update", None)
        if not (isinstance(optimizer, tuple) and len(optimizer) == 2 and callable(update)):
            raise EvengradError(
                msg(
                    "Expected an optax.GradientTransformation, got {kind}. Of flax pass "
                    "state.tx or optimizer.tx.",
                    kind=type(optimizer).__qualname__,
                )
            )
        self._runs: list[Watching] = []
        self._listener, self._settings = listener, settings
        trouble = failure.Once()
        self._patches = Patches(trouble)
        only = tuple(optimizer)[1]
        self._taps = Taps(settings, settings.name, self._begin, trouble, only)
        put_on(self._taps, self._patches, lambda: self._taps.on)

    @property
    def watching(self) -> Watching:
        """The run so far.

        Raises:
            EvengradError: no step was made yet.
        """
        if not self._runs:
            raise EvengradError(
                msg("No step of this optimizer was seen: its update was not called yet.")
            )
        return self._runs[0]

    def remove(self, status: RunStatus = "finished") -> None:
        """Stop watching; the run file is complete after this. Twice is once.

        Args:
            status: what the run file says of how it ended.
        """
        self._taps.close()
        self._patches.undo()
        for run in self._runs:
            run.end(status)

    def _begin(self, subject: Subject) -> Watching:
        self._runs.append(Watching(self._settings, subject, self._listener))
        return self._runs[-1]

    def __enter__(self) -> OptaxWatch:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if isinstance(error, KeyboardInterrupt):
            self.remove("interrupted")
        else:
            self.remove("finished" if error is None else "failed")
        stopped = next((run.stopped for run in self._runs if run.stopped is not None), None)
        if stopped is not None and (error is None or "GuardStopError" in str(error)):
            raise stopped from None


def watch(
    model: Any, optimizer: Any, settings: Settings, listener: RunListener | None = None
) -> OptaxWatch:
    """Watch one optimizer; see ``evengrad.watch``."""
    return OptaxWatch(model, optimizer, settings, listener)
