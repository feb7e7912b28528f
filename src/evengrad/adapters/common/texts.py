"""Texts that CTC cannot spell in the steps that it is given."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any


def judge_texts(
    texts: Sequence[Sequence[int]], steps: Sequence[int], blank: int, *, zero_infinity: bool
) -> dict[str, Any] | None:
    """Figures of a batch with a text too long for its steps, or with the blank inside of one; None where all
    fit. A text needs a step a character, and one more between two that are equal.
    """
    needed = [len(t) + sum(a == b for a, b in itertools.pairwise(t)) for t in texts]
    short = [i for i, (n, s) in enumerate(zip(needed, steps, strict=True)) if s < n]
    if short:
        worst = max(short, key=lambda i: needed[i] - steps[i])
        return {
            "problem": "short",
            "short": len(short),
            "batch": len(texts),
            "steps": steps[worst],
            "characters": len(texts[worst]),
            "repeats": needed[worst] - len(texts[worst]),
            "zero_infinity": zero_infinity,
        }
    inside = [t for t in texts if blank in t[: _end(t, blank)]]
    if inside:
        return {"problem": "blank", "blank": blank, "short": len(inside), "batch": len(texts)}
    return None


def _end(text: Sequence[int], blank: int) -> int:
    """Where a text ends: blanks behind it are padding."""
    end = len(text)
    while end and text[end - 1] == blank:
        end -= 1
    return end
