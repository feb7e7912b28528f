"""Padding masks of an attention, against the padding that an embedding was given."""

from __future__ import annotations

from typing import Any

import torch

from evengrad.adapters.common.source import where
from evengrad.values.fact import Fact

KIND = "mask_inverted"
_ATTENTION = "multi_head_attention_forward"
_KEPT = 4  # embeddings of a step


class PaddingMasks:
    """Told of calls before they are made; changes no value."""

    def __init__(self) -> None:
        self._ids: list[tuple[Any, int]] = []

    def concerns(self, function: str) -> bool:
        """Whether a call by that name says something of padding."""
        return function in ("embedding", _ATTENTION)

    def judge(self, function: str, args: Any, kwargs: Any) -> Fact | None:
        """A mask that hides what is no padding, and nothing else; None for any other call."""
        if function == "embedding":
            pad = args[2] if len(args) > 2 else kwargs.get("padding_idx")
            ids = args[0] if args else kwargs.get("input")
            if isinstance(ids, torch.Tensor) and ids.ndim == 2:
                self._ids = [*self._ids[1 - _KEPT :], (ids, 0 if pad is None else int(pad))]
            return None
        mask = (
            args[3] if 3 < len(args) < 12 else kwargs.get("key_padding_mask")
        )  # of the module's own
        if not isinstance(mask, torch.Tensor) or mask.ndim != 2:
            return None
        hidden = mask if mask.dtype is torch.bool else mask < -1e4
        for ids, pad in reversed(self._ids):
            for given in (ids, ids.T):
                if given.shape == hidden.shape and _is_inverted(hidden, given == pad):
                    share = float(hidden.float().mean())
                    full = int(hidden.all(1).sum())
                    values = {"hidden": share, "pad": pad, "throughout": full}
                    return Fact(KIND, where(), None, values)
        return None


def _is_inverted(hidden: Any, padding: Any) -> bool:
    return bool(padding.any()) and not bool(padding.all()) and bool((hidden != padding).all())
