"""Whether the inner steps of an LBFGS without a line search jump away."""

from __future__ import annotations

import math
from typing import Any

import torch

from evengrad.adapters.common.source import where
from evengrad.values.fact import Fact, Where

_JUMP = 10.0


class LineSearch:
    """Told of each loss that a closure gives; for other optimizers nothing is done."""

    def __init__(self, optimizer: Any) -> None:
        self._optimizer = optimizer
        groups = optimizer.param_groups
        self._on = isinstance(optimizer, torch.optim.LBFGS) and not groups[0].get("line_search_fn")
        self._began = self._last = math.nan
        self._before = math.nan
        self._jump: tuple[float, float, int, Where | None] | None = None

    def evaluated(self, losses: list[Any], first: bool, step: int) -> Fact | None:
        """One evaluation within a step; a fact where the loss is lost."""
        if not self._on or not losses or losses[-1].numel() != 1:
            return None
        loss = float(losses[-1])
        if first:
            self._last = loss
            self._began = loss if math.isnan(self._began) else self._began
        before, self._before = self._before, loss
        if not math.isfinite(before) or (math.isfinite(loss) and loss <= _JUMP * abs(before)):
            return None
        self._jump = before, loss, step, where()
        return None if math.isfinite(loss) else self._fact()

    def ended(self) -> Fact | None:
        """A fact where it jumped, and ends above where it began."""
        if not self._on or self._jump is None or self._last <= self._began:
            return None
        return self._fact()

    def _fact(self) -> Fact:
        assert self._jump is not None
        self._on = False
        before, loss, step, place = self._jump
        values = {
            "before": before,
            "loss": loss if math.isfinite(loss) else None,
            "rate": float(self._optimizer.param_groups[0]["lr"]),
        }
        return Fact("line_search_missing", place, step, values)
