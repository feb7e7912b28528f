"""Clips of the script's own loop that leave so little of the gradients that its steps move nothing."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterator, Sequence
from typing import Any

import keras
import numpy as np

from evengrad.adapters.keras.facts.lines import line
from evengrad.adapters.keras.facts.smothered import clipped, swallowed
from evengrad.adapters.keras.tap import native
from evengrad.adapters.keras.tap.listening import Applied, Clipped
from evengrad.values.fact import Fact, Where

_STEPS = 3  # of each optimizer that are looked at


class ClippedAway:
    """Compares what a clip leaves of a step with the weights. What is compiled has no values, and is passed."""

    def __init__(self) -> None:
        self._clips: deque[tuple[Clipped, list[float], Where | None]] = deque(maxlen=512)
        self._steps: dict[int, int] = {}

    def clipped(self, event: Clipped) -> None:
        """One clip."""
        first = min(self._steps.values(), default=0) < _STEPS
        if first and isinstance(event.bound, int | float) and _valued(event.given):
            self._clips.append((event, _norms(event.given), line()))

    def applied(self, event: Applied, scale: float) -> Iterator[Fact]:
        """A step: is it made of clipped gradients, and what is left of them? scale: of the loss."""
        clips, self._clips = list(self._clips), deque(maxlen=512)
        steps = self._steps[id(event.optimizer)] = self._steps.get(id(event.optimizer), 0) + 1
        given = {id(g) for g in event.gradients if g is not None}
        own = [clip for clip in clips if given & {id(t) for t in clip[0].found}]
        if steps > _STEPS or not own or scale != 1.0 or not _valued(event.gradients):
            return
        bound, place = float(own[0][0].bound), own[0][2]
        before = math.hypot(*(norm for _, norms, _ in own for norm in norms))
        whole = math.hypot(*_norms([v.value for v in event.variables]))
        behind = math.hypot(*_norms(event.gradients))
        found = clipped(event.optimizer, bound, before, behind, whole, place)
        found = found or _swallowed(event, bound, own)
        if found is not None:
            yield found


def _swallowed(
    event: Applied, bound: float, clips: Sequence[tuple[Clipped, list[float], Where | None]]
) -> Fact | None:
    """By the optimizer's epsilon."""
    before = {
        id(after): norm
        for clip, norms, _ in clips
        for after, norm in zip((t for t in clip.found if t is not None), norms, strict=False)
    }
    pairs = [
        (g, v) for g, v in zip(event.gradients, event.variables, strict=True) if id(g) in before
    ]
    behind, sizes = _norms([g for g, _ in pairs]), [math.prod(v.shape) for _, v in pairs]
    names = [v.path for _, v in pairs]
    norms = [before[id(g)] for g, _ in pairs]
    place = clips[0][2]
    return swallowed(event.optimizer, "clip_norm", bound, norms, behind, sizes, names, place)


def _valued(tensors: Sequence[Any]) -> bool:
    return all(native.has_value(t) for t in tensors if t is not None)


def _norms(tensors: Sequence[Any]) -> list[float]:
    arrays = [np.asarray(keras.ops.convert_to_numpy(t)) for t in tensors if t is not None]
    return [float(np.linalg.norm(a.astype(np.float64).ravel())) for a in arrays]
