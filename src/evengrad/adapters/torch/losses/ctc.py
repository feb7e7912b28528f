"""Texts that a CTC loss cannot spell in the steps that it is given."""

from __future__ import annotations

from typing import Any

import torch

from evengrad.adapters.common.texts import judge_texts
from evengrad.adapters.torch.losses.given import LossCall


def judge_lengths(call: LossCall) -> dict[str, Any] | None:
    """For a fact; None where all fit."""
    if call.function != "ctc_loss":
        return None
    lengths = _whole(call.options["target_lengths"])
    steps = _whole(call.options["input_lengths"])
    texts = _texts(call.target, lengths)
    zero = bool(call.options["zero_infinity"])
    return judge_texts(texts, steps, int(call.options["blank"]), zero_infinity=zero)


def _whole(lengths: Any) -> list[int]:
    values = lengths.tolist() if isinstance(lengths, torch.Tensor) else lengths
    return [int(n) for n in (values if isinstance(values, list | tuple) else [values])]


def _texts(targets: Any, lengths: list[int]) -> list[list[int]]:
    """One list of characters a sample; they lie in rows, or one behind the other."""
    if targets.ndim == 2:
        return [row[:n] for row, n in zip(targets.tolist(), lengths, strict=True)]
    return [t.tolist() for t in targets.split(lengths)]
