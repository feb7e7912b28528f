"""``evengrad.lightning.Watch``: a callback for Lightning's ``Trainer``."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from evengrad.adapters.torch.callbacks.handles import TrainerWatch
from evengrad.errors import MissingFrameworkError
from evengrad.recording.clip import Clip
from evengrad.recording.guard import Guard
from evengrad.recording.listener import RunListener
from evengrad.recording.session import Watching
from evengrad.values.message import msg

if TYPE_CHECKING:
    from lightning.pytorch import Callback
else:
    try:
        if "pytorch_lightning" in sys.modules and "lightning" not in sys.modules:
            from pytorch_lightning import Callback
        else:
            from lightning.pytorch import Callback
    except ImportError as missing:
        raise MissingFrameworkError(
            msg(
                "evengrad.lightning.Watch needs Lightning, which is not installed: pip install lightning"
            )
        ) from missing


class LightningWatch(Callback):
    """Statistics, clip and guard in ``Trainer(callbacks=[Watch(...)])``, automatic and manual optimization.

    Each fit writes a run for each of its optimizers; the process of rank 0 writes them. The norms are those
    before ``gradient_clip_val``; a step of accumulated batches counts once.

    Args:
        clip: as in ``evengrad.watch``.
        guard: as in ``evengrad.watch``. "stop" raises ``evengrad.GuardStopError`` out of ``fit``, with the
            weights of before the refused step.
        every: steps between two that are read in full.
        folder: where the run goes, in TIME-NAME; None: nowhere.
        name: of the run.
        listener: as in ``evengrad.watch``.
        to: as in ``evengrad.watch``.

    Raises:
        EvengradError: settings that are not understood.
    """

    def __init__(
        self,
        clip: str | float | Clip | None = None,
        guard: str | Guard | None = "stop",
        every: int = 10,
        folder: str | Path | None = "runs",
        name: str = "fit",
        *,
        listener: RunListener | None = None,
        to: str | Sequence[str] | None = None,
    ) -> None:
        super().__init__()
        self._watch = TrainerWatch(clip, guard, every, folder, name, listener, to)

    @property
    def watchings(self) -> list[Watching]:
        """The runs of this fit or the last one, one for each optimizer; ``path`` of each is its file."""
        return self._watch.watchings

    def on_train_start(self, trainer: Any, pl_module: Any) -> None:
        """See Callback."""
        self._watch.begin(pl_module, trainer.optimizers, first=trainer.is_global_zero)

    def on_train_end(self, _trainer: Any, _pl_module: Any) -> None:
        """See Callback."""
        self._watch.end("finished")

    def on_exception(self, _trainer: Any, _pl_module: Any, exception: BaseException) -> None:
        """See Callback."""
        self._watch.end("interrupted" if isinstance(exception, KeyboardInterrupt) else "failed")
