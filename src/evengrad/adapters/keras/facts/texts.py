"""Texts that a CTC loss cannot spell in the steps that it is given."""

from __future__ import annotations

from typing import Any

import numpy as np

from evengrad.adapters.common.texts import judge_texts
from evengrad.adapters.keras.facts.calls import LossHeard

_LENGTHS = ("target_length", "label_length")
_STEPS = ("output_length", "logit_length")


def judge_lengths(call: LossHeard) -> dict[str, Any] | None:
    """For a fact; None where all texts fit, or have no values yet."""
    if call.function not in ("ctc", "ctc_loss") or len(getattr(call.output, "shape", ())) != 3:
        return None
    try:
        texts = np.asarray(call.target).astype(int)
    except Exception:  # symbols, or a sparse tensor
        return None
    if texts.ndim != 2:
        return None
    steps_axis = 0 if call.options.get("logits_time_major") else 1
    blank = int(call.options.get("mask_index", call.options.get("blank_index", 0)) or 0)
    lengths, steps = (_given(call, names) for names in (_LENGTHS, _STEPS))
    if lengths is None:
        lengths = (texts != blank).sum(-1)
    if steps is None:
        steps = np.full(len(texts), int(call.output.shape[steps_axis]))
    own = [row[:n].tolist() for row, n in zip(texts, lengths, strict=True)]
    return judge_texts(own, [int(n) for n in steps], blank, zero_infinity=False)


def _given(call: LossHeard, names: tuple[str, ...]) -> Any:
    found = next((call.options[n] for n in names if call.options.get(n) is not None), None)
    return None if found is None else np.asarray(found).astype(int).reshape(-1)
