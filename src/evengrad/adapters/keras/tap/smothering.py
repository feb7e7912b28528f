"""Clips of the script's own loop that leave so little of the gradients that its steps move nothing."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterator, Sequence
from typing import Any

import keras
import numpy as np

from evengrad.adapters.keras.facts.lines import line
from evengrad.adapters.keras.facts.smothered import clipped
from evengrad.adapters.keras.tap import native
from evengrad.adapters.keras.tap.listening import Applied, Clipped
from evengrad.values.fact import Fact, Where

_STEPS = 3  # of each optimizer that are looked at


class ClippedAway:
    """Compares what a clip leaves of a step with the weights. What is compiled has no values, and is passed."""

    def __init__(self) -> None:
        self._clips: deque[tuple[Clipped, float, Where | None]] = deque(maxlen=512)
        self._steps: dict[int, int] = {}

    def clipped(self, event: Clipped) -> None:
        """One clip."""
        small = isinstance(event.bound, int | float) and event.bound < 1
        if small and min(self._steps.values(), default=0) < _STEPS and _valued(event.given):
            self._clips.append((event, _norm(event.given), line()))

    def applied(self, event: Applied, scale: float) -> Iterator[Fact]:
        """A step: is it made of clipped gradients, and what is left of them? scale: of the loss."""
        clips, self._clips = list(self._clips), deque(maxlen=512)
        steps = self._steps[id(event.optimizer)] = self._steps.get(id(event.optimizer), 0) + 1
        given = {id(g) for g in event.gradients if g is not None}
        own = [clip for clip in clips if given & {id(t) for t in clip[0].found}]
        if steps > _STEPS or not own or scale != 1.0 or not _valued(event.gradients):
            return
        bound = float(own[0][0].bound)
        before = math.hypot(*(norm for _, norm, _ in own))
        weights = _norm([v.value for v in event.variables])
        fact = clipped(event.optimizer, bound, before, _norm(event.gradients), weights, own[0][2])
        if fact is not None:
            yield fact


def _valued(tensors: Sequence[Any]) -> bool:
    return all(native.has_value(t) for t in tensors if t is not None)


def _norm(tensors: Sequence[Any]) -> float:
    arrays = [np.asarray(keras.ops.convert_to_numpy(t)) for t in tensors if t is not None]
    return math.hypot(*(float(np.linalg.norm(a.astype(np.float64).ravel())) for a in arrays))
