"""What the best constant answer loses, or little more, under a loss that nothing else is known of."""

from __future__ import annotations

import logging
from typing import Any

import keras
import numpy as np

from evengrad.adapters.keras.change.data import plain_mean

log = logging.getLogger("evengrad")
_ENOUGH, _FEWEST = 2048, 64  # samples
_ALIKE = 0.8
"""Of the whole's loss the two halves' own constants must lose so much on average: else the data come sorted."""


class Constant:
    """The targets' mean as the answer to every input: no constant that is better loses more.

    Args:
        model: compiled, with one loss function, the user's own or one of Keras'.
    """

    def __init__(self, model: Any) -> None:
        self._model = model
        self._mean: Any = plain_mean(model)
        self._targets: list[Any] = []
        self._seen = 0
        self._known: tuple[int, float | None] = (0, None)

    def take(self, targets: Any) -> None:
        """Of one batch."""
        if self._mean is not None and self._seen < _ENOUGH and targets.dtype.kind in "fiub":
            self._targets.append(np.array(targets, "float32"))
            self._seen += len(targets)

    @property
    def loss(self) -> float | None:
        """None where it is not known, too few samples were seen, or it is not above 0."""
        if self._known[0] != self._seen:
            self._known = self._seen, self._worked_out()
        return self._known[1]

    def _worked_out(self) -> float | None:
        if self._seen < _FEWEST:
            return None
        try:
            targets = self._as_outputs(np.concatenate(self._targets)[:_ENOUGH])
            if targets is None:
                return None
            half = len(targets) // 2
            whole = self._of(targets)
            parts = [self._of(targets[:half]), self._of(targets[half:])]
        except Exception as error:  # a loss that needs more than targets and outputs
            log.info("the constant's loss is not known: %s", error)
            return None
        if not np.isfinite([whole, *parts]).all() or whole <= 0 or np.mean(parts) < _ALIKE * whole:
            return None
        return whole

    def _of(self, targets: Any) -> float:
        answer = np.broadcast_to(targets.mean(0), targets.shape).astype("float32")
        given = map(keras.ops.convert_to_tensor, (targets, answer))
        return float(keras.ops.convert_to_numpy(self._mean(*given)))

    def _as_outputs(self, targets: Any) -> Any:
        shape = self._model.output_shape
        if targets.ndim + 1 == len(shape) and shape[-1] == 1:
            targets = targets[..., None]
        fits = len(shape) == targets.ndim and all(
            own in (None, n) for own, n in zip(shape[1:], targets.shape[1:], strict=True)
        )
        return targets if fits else None
