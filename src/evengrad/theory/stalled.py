"""A clip that leaves gradients below an optimizer's epsilon, by which it then divides instead of their size."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from evengrad.values.run import Floats

_LEFT = 0.1  # of all gradients' norm, behind a clip that counts
_HALF = 0.5  # of a step's length
_PART = 0.1  # of the elements


def stalled(
    before: Floats, left: Floats, sizes: Sequence[int], names: Sequence[str], epsilon: float
) -> dict[str, Any] | None:
    """What a fact "clipped_away" says of an optimizer that divides by the root of squares plus epsilon.

    A tensor stalls where r / (r + epsilon) falls below a half by the clip alone; None where those that do make
    up less than a tenth of the elements.

    Args:
        before: rms of each tensor's gradient before the clip, (tensors,).
        left: the same behind it.
        sizes: their elements.
        names: theirs.
        epsilon: the optimizer's.
    """
    count = np.asarray(sizes, dtype=np.float64)
    norm, rest = (float(np.sqrt(np.nansum(rms**2 * count))) for rms in (before, left))
    if not epsilon > 0 or not rest < _LEFT * norm < np.inf:
        return None
    share, whole = left / (left + epsilon), before / (before + epsilon)
    still = (share < _HALF) & (whole >= _HALF)
    part = float(count[still].sum() / count.sum())
    if part < _PART:
        return None
    worst = int(np.argmax(np.where(still, count, 0.0)))
    return {
        "norm": norm,
        "left": rest,
        "epsilon": epsilon,
        "stalled": int(still.sum()),
        "tensors": len(names),
        "part": part,
        "name": names[worst],
        "rms": float(left[worst]),
        "share": float(share[worst]),
        "largest": names[int(np.argmax(before * np.sqrt(count)))],
    }
