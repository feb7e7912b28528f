"""``evengrad.watch``: statistics, clip and guard around a PyTorch training loop of your own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from evengrad.adapters import adapter_of
from evengrad.recording import clip as clips
from evengrad.recording import guard as guards
from evengrad.recording.listener import RunListener
from evengrad.recording.settings import settings_of


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
) -> Any:
    """Watch a PyTorch training: a context manager, or a handle with ``remove()``.

        with evengrad.watch(model, optimizer, clip=1.0):
            train()

    model: a ``torch.nn.Module``, or a list of them. clip: a bound for the norm of all gradients, "auto", or
    another kind ("agc", "zscore", "percentile", ...; see ``evengrad.clip``). guard: "stop", "skip:3",
    "rollback:2" or None. every: steps between two that are read in full. folder: where the run file goes;
    None: nowhere. The handle's ``watching.path`` is the run file, for ``evengrad.load``. listener: is given
    each step, detail and event as it comes; see ``evengrad.RunListener``.

    Without a clip nothing of a healthy training changes, not a bit. A step that the guard holds back raises
    ``evengrad.GuardStopError`` from ``optimizer.step()`` with guard="stop". Keras models:
    ``evengrad.keras.Watch`` in ``fit(callbacks=...)``.

    Raises EvengradError for settings that are not understood, CannotCheckError for what is no model.
    """
    chosen = settings_of(clip, guard, every, folder, name)
    one = model[0] if isinstance(model, list | tuple) and model else model
    return adapter_of(one, "watch")(model, optimizer, chosen, listener)
