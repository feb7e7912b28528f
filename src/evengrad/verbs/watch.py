"""``evengrad.watch``: statistics, clip and guard around a PyTorch training loop of your own."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from evengrad.adapters import adapter_of
from evengrad.recording import clip as clips
from evengrad.recording import guard as guards
from evengrad.recording.listener import RunListener
from evengrad.recording.settings import settings_of

if TYPE_CHECKING:
    from evengrad.adapters.torch.watch import WatchHandle


def watch(
    model: Any,
    optimizer: Any,
    *,
    clip: str | float | clips.Clip | None = None,
    guard: str | guards.Guard | None = "stop",
    every: int = 10,
    folder: str | Path | None = "runs",
    name: str = "run",
    listener: RunListener | None = None,
    to: str | Sequence[str] | None = None,
) -> WatchHandle:
    """Watch a training with PyTorch or optax: a context manager, or a handle with ``remove()``.

        with evengrad.watch(model, optimizer, clip=1.0):
            train()

    Without a clip nothing of a healthy training changes, not a bit. Keras models: ``evengrad.keras.Watch`` in
    ``fit(callbacks=...)``.

    Args:
        model: a ``torch.nn.Module``, or a list of them; a flax or Equinox module, or optax' optimizer again.
        optimizer: the ``torch.optim.Optimizer`` or ``optax.GradientTransformation`` that trains it.
        clip: a bound for the norm of all gradients, "auto", another kind ("agc", "zscore", "percentile:10",
            ...), or an ``evengrad.Clip``.
        guard: what happens to a step that is not finite or would overwrite the weights: "stop" raises
            ``evengrad.GuardStopError`` from ``optimizer.step()``, "skip:3", "rollback:2", None, or an
            ``evengrad.Guard``.
        every: steps between two that are read in full.
        folder: where the run goes, in TIME-NAME; None: nowhere.
        name: of the run.
        listener: is given each step, detail and event as it comes; see ``evengrad.RunListener``.
        to: trackers that get the figures as they come and the findings at the end: "tensorboard", "wandb",
            "mlflow" or "trackio", or a list.

    Returns:
        The handle; its ``watching.path`` is the run file, for ``evengrad.load``.

    Raises:
        EvengradError: settings that are not understood.
        CannotCheckError: what is no model.

    References:
        docs/theory.md, "Clipping".
    """
    chosen = settings_of(clip, guard, every, folder, name, to)
    one = model[0] if isinstance(model, list | tuple) and model else model
    handle: WatchHandle = adapter_of(one, "watch")(model, optimizer, chosen, listener)
    return handle
