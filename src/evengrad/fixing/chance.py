"""The loss of the best constant answer: what a network reaches that has learnt nothing from its inputs."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

_ENOUGH = 20_000


class Chance:
    """Gathers what a loss compares with, and says what a constant answer would lose.

    Cross-entropy: the entropy of the classes' shares (for soft labels of their mean). Binary: the same for each
    output, on average. Squared error: the variance, on average over outputs. Examples that are not finite do
    not count.
    """

    def __init__(self) -> None:
        self._kind: str | None = None
        self._values: list[Any] = []
        self._count = 0

    def add(self, kind: str, values: Any) -> None:
        """Targets of a batch, or of all: (samples, ...)."""
        if self._count >= _ENOUGH or (self._kind is not None and kind != self._kind):
            return
        self._kind = kind
        found = np.asarray(values)
        self._values.append(found[:_ENOUGH] if found.ndim else found.reshape(1))
        self._count += max(len(self._values[-1]), 1)

    @property
    def loss(self) -> float | None:
        """Of the best constant answer, in nats or squared units; None where it is not known."""
        if not self._values or self._kind not in _BY_KIND:
            return None
        try:
            values = np.concatenate(self._values).astype(np.float64)
            values = values[np.isfinite(values.reshape(len(values), -1)).all(1)]
            found = float(_BY_KIND[self._kind](values))
        except (ValueError, TypeError):
            return None
        return found if math.isfinite(found) else None


def _categorical(values: Any) -> float:
    if values.ndim >= 2 and values.shape[-1] > 1 and np.allclose(values.sum(-1), 1, atol=1e-3):
        shares = values.reshape(-1, values.shape[-1]).mean(0)
    else:
        labels = values.reshape(-1)
        shares = np.unique(labels[labels >= 0], return_counts=True)[1] / max(len(labels), 1)
    return float(-np.sum(shares * np.log(np.where(shares > 0, shares, 1.0))))


def _binary(values: Any) -> float:
    shares = np.clip(values.reshape(len(values), -1).mean(0), 1e-12, 1 - 1e-12)
    return float(np.mean(-shares * np.log(shares) - (1 - shares) * np.log(1 - shares)))


def _squared(values: Any) -> float:
    return float(values.reshape(len(values), -1).var(0).mean())


_BY_KIND = {"crossentropy": _categorical, "binary_crossentropy": _binary, "mse": _squared}
