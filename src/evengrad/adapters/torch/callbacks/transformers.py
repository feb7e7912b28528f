"""``evengrad.transformers.Watch``: a callback for Hugging Face's ``Trainer``."""

from __future__ import annotations

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
    from transformers import TrainerCallback
else:
    try:
        from transformers import TrainerCallback
    except ImportError as missing:
        raise MissingFrameworkError(
            msg(
                "evengrad.transformers.Watch needs Transformers, which is not installed: "
                "pip install transformers accelerate"
            )
        ) from missing


class TransformersWatch(TrainerCallback):
    """Statistics, clip and guard in ``Trainer(callbacks=[Watch(...)])``, TRL's trainers as well.

    Each ``train()`` writes a run; the process of rank 0 writes it. The norms are those before
    ``max_grad_norm``, and losses are as they are: Trainer's own log has the running mean in place of
    a loss that is NaN (``logging_nan_inf_filter``), so that a run which has failed looks well there.

    Args:
        clip: as in ``evengrad.watch``.
        guard: as in ``evengrad.watch``. "stop" raises ``evengrad.GuardStopError`` out of ``train``, with the
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
        name: str = "train",
        *,
        listener: RunListener | None = None,
        to: str | Sequence[str] | None = None,
    ) -> None:
        super().__init__()
        self._watch = TrainerWatch(clip, guard, every, folder, name, listener, to)

    @property
    def watchings(self) -> list[Watching]:
        """The run of this training or the last one, in a list; its ``path`` is the file."""
        return self._watch.watchings

    def on_train_begin(self, _args: Any, state: Any, _control: Any, **kwargs: Any) -> None:
        """See TrainerCallback."""
        first = bool(state.is_world_process_zero)
        self._watch.begin(kwargs["model"], [kwargs["optimizer"]], first=first)

    def on_train_end(self, _args: Any, _state: Any, _control: Any, **_kwargs: Any) -> None:
        """See TrainerCallback."""
        self._watch.end("finished")
