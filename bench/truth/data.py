"""What the zoo of truth learns: scikit-learn's digits as images of any side, or as rows of tokens."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
SAMPLES = 24
START = 18
"""The token in front of what a decoder writes."""


@cache
def _digits() -> tuple[Array, Array]:
    from sklearn.datasets import load_digits

    found = load_digits()
    order = np.random.default_rng(0).permutation(len(found.target))[:SAMPLES]
    return found.images[order], found.target[order].astype(np.int64)


def images(side: int) -> tuple[Array, Array]:
    """Upsampled, standardised: (samples, side, side, 3), and the labels."""
    pixels, labels = _digits()
    place = np.arange(side) * 8 // side
    large = pixels[:, place][:, :, place]
    large = (large - large.mean()) / large.std()
    return np.repeat(large[..., None], 3, axis=-1).astype(np.float32), labels


def tokens() -> tuple[Array, Array]:
    """The 64 brightnesses, 0 to 16, row by row, and the labels."""
    pixels, labels = _digits()
    return pixels.reshape(len(pixels), 64).astype(np.int64), labels


def constant_loss(targets: Array) -> float:
    """The cross-entropy of the best constant answer."""
    share = np.bincount(targets.ravel()) / targets.size
    share = share[share > 0]
    return float(-(share * np.log(share)).sum())
