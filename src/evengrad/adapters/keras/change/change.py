"""Makes changes in a live, compiled model, in the moment before its first training step."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from evengrad.adapters.keras.change.model import LiveModel
from evengrad.adapters.keras.change.pretrained import slow
from evengrad.values.change import Change


def apply(
    changes: Iterable[Change],
    model: Any,
    x: Any = None,
    note: Callable[[str], None] = lambda _: None,
) -> LiveModel:
    """All of them, in order; what they were made in. x: inputs of a batch, by which a model is built that is
    not yet, and followed where it does not know its own inputs' shapes. note: told what they did. Raises
    CannotChangeError.
    """
    live = LiveModel(model, x, note)
    for change in changes:
        change.live_keras(live)
    slow(model, *live.slower)
    for name in ("train_function", "test_function", "predict_function"):
        setattr(model, name, None)  # what was compiled before has the old model in it
    return live
