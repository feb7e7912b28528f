"""Recurrent modules whose activation has no bound."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import nn

from evengrad.values.fact import Fact

KIND = "recurrence_unbounded"


def unbounded(roots: Sequence[Any]) -> Fact | None:
    """Of these models; None where each has a bound."""
    named = [(name, m) for root in roots for name, m in root.named_modules()]
    found = [
        name or type(m).__name__
        for name, m in named
        if isinstance(m, nn.RNN | nn.RNNCell) and m.nonlinearity == "relu"
    ]
    if not found:
        return None
    return Fact(KIND, None, 0, {"layers": found, "kind": "RNN", "activation": "relu"})
