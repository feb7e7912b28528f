"""Texts that a CTC loss cannot spell in the steps that it is given."""

from __future__ import annotations

import itertools
from typing import Any

import torch

from evengrad.adapters.torch.losses.given import LossCall


def judge_lengths(call: LossCall) -> dict[str, Any] | None:
    """Lengths of a batch with a text too long for its steps, or with the blank inside of one; None where all
    fit. A text needs a step a character, and one more between two that are equal.
    """
    if call.function != "ctc_loss":
        return None
    lengths = _whole(call.options["target_lengths"])
    steps = _whole(call.options["input_lengths"])
    blank = int(call.options["blank"])
    texts = _texts(call.target, lengths)
    needed = [len(t) + sum(a == b for a, b in itertools.pairwise(t)) for t in texts]
    short = [i for i, (n, s) in enumerate(zip(needed, steps, strict=True)) if s < n]
    if short:
        worst = max(short, key=lambda i: needed[i] - steps[i])
        return {
            "problem": "short",
            "short": len(short),
            "batch": len(texts),
            "steps": steps[worst],
            "characters": lengths[worst],
            "repeats": needed[worst] - lengths[worst],
            "zero_infinity": bool(call.options["zero_infinity"]),
        }
    inside = [t for t in texts if blank in t[: _end(t, blank)]]
    if inside:
        return {"problem": "blank", "blank": blank, "short": len(inside), "batch": len(texts)}
    return None


def _whole(lengths: Any) -> list[int]:
    values = lengths.tolist() if isinstance(lengths, torch.Tensor) else lengths
    return [int(n) for n in (values if isinstance(values, list | tuple) else [values])]


def _texts(targets: Any, lengths: list[int]) -> list[list[int]]:
    """One list of characters a sample; they lie in rows, or one behind the other."""
    if targets.ndim == 2:
        return [row[:n] for row, n in zip(targets.tolist(), lengths, strict=True)]
    return [t.tolist() for t in targets.split(lengths)]


def _end(text: list[int], blank: int) -> int:
    """Where a text ends: blanks behind it are padding."""
    end = len(text)
    while end and text[end - 1] == blank:
        end -= 1
    return end
