"""Gradients of a scaled loss that the script clips before the optimizer has unscaled them."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import Any

import keras
import numpy as np

from evengrad.adapters.keras.facts.lines import line
from evengrad.adapters.keras.measure.update import unscaled
from evengrad.adapters.keras.tap import native
from evengrad.adapters.keras.tap.listening import Applied, Clipped, LossScaled
from evengrad.adapters.keras.tap.native import Differentiated
from evengrad.values.fact import Fact, Where


class ClippedScaled:
    """Follows them from the scaled loss through the clip to the step."""

    def __init__(self) -> None:
        self._scaled: deque[Any] = deque(maxlen=4)
        self._waiting = False  # PyTorch's gradients, which are where they are
        self._gradients: dict[int, Any] = {}
        self._clips: deque[tuple[Clipped, Where | None]] = deque(maxlen=512)

    def scaled(self, event: LossScaled) -> None:
        """A loss was multiplied by the scale."""
        self._scaled.append(event.scaled)

    def differentiated(self, event: Differentiated) -> None:
        """Whether what comes of it is scaled."""
        if any(event.target is scaled for scaled in self._scaled):
            self._waiting = not event.sources
            self._gradients |= {id(g): g for g in event.gradients if g is not None}

    def clipped(self, event: Clipped) -> None:
        """A clip, perhaps of such."""
        known = any(id(t) in self._gradients for t in event.given)
        if (known or self._waiting) and isinstance(event.bound, int | float):
            self._clips.append((event, line()))

    def applied(self, event: Applied, scale: float) -> Iterator[Fact]:
        """A step: did a clip make its gradients? scale: what the optimizer divides them by."""
        given = {id(g) for g in event.gradients if g is not None}
        clips = [(c, place) for c, place in self._clips if given & {id(t) for t in c.found}]
        if scale != 1.0 and clips and float(clips[0][0].bound) < scale:
            yield _fact(event.optimizer, scale, *clips[0])
        self._clips.clear()
        self._gradients.clear()
        self._waiting = False


def _fact(optimizer: Any, scale: float, clip: Clipped, place: Where | None) -> Fact:
    inner = unscaled(optimizer)
    norm = None
    changed = any(a is b for a, b in zip(clip.given, clip.found, strict=False))
    if not changed and all(map(native.has_value, clip.given)):
        squares = [np.square(keras.ops.convert_to_numpy(t)).sum() for t in clip.given]
        norm = float(np.sqrt(sum(squares)))
    values = {
        "optimizer": type(inner).__name__,
        "scaler": type(optimizer).__name__,
        "bound": float(clip.bound),
        "scale": scale,
        "norm": norm,
        "unscaled": None if norm is None else norm / scale,
    }
    return Fact("clipped_scaled", place, None, values)
