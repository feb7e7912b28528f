"""How large what a model is given is, in training and in evaluation mode."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import torch

from evengrad.adapters.torch.compat import tree_leaves, unseen
from evengrad.values.fact import Fact

_CALLS = 16
"""Calls of each mode that are looked at."""
_ROWS = 64
"""Samples of each mode, below which nothing is said."""
_APART = 4.0
"""Standard deviations of the training's between the means, or the factor between the standard deviations."""


class _ScaleSums:
    """Of the values in a mode's first calls."""

    def __init__(self) -> None:
        self.calls = self.rows = self.count = 0
        self.sum = self.squares = 0.0

    def add(self, values: Any) -> None:
        """Of one call."""
        found = values.double()
        self.calls += 1
        self.rows += int(values.shape[0])
        self.count += values.numel()
        self.sum += float(found.sum())
        self.squares += float(found.square().sum())

    @property
    def mean(self) -> float:
        """Of all of them."""
        return self.sum / self.count

    @property
    def std(self) -> float:
        """Around that."""
        return math.sqrt(max(self.squares / self.count - self.mean**2, 0.0))


class Inputs:
    """Of one training's outermost modules."""

    def __init__(self) -> None:
        self._sums: dict[tuple[int, bool], _ScaleSums] = {}
        self._shapes: dict[int, tuple[int, ...]] = {}

    def given(self, module: Any, args: Any, kwargs: Any) -> None:
        """A call of an outermost module: its first floating-point argument counts, where it is of one shape."""
        sums = self._sums.setdefault((id(module), module.training), _ScaleSums())
        if sums.calls >= _CALLS or torch.compiler.is_compiling():
            return
        values = next(_floats((args, kwargs)), None)
        if values is None or not values.numel() or values.ndim < 2:
            return
        if self._shapes.setdefault(id(module), tuple(values.shape[1:])) != tuple(values.shape[1:]):
            return
        with unseen(), torch.no_grad():
            sums.add(values.detach())

    def apart(self, step: int) -> Fact | None:
        """Both modes' mean and standard deviation, where they are far from each other."""
        for (key, training), evaluated in self._sums.items():
            trained = self._sums.get((key, True))
            if training or trained is None or min(trained.rows, evaluated.rows) < _ROWS:
                continue
            wide, seen = trained.std, evaluated.std
            if not (math.isfinite(wide) and math.isfinite(seen) and wide > 0 and seen > 0):
                continue
            shift = abs(evaluated.mean - trained.mean) / wide
            if max(shift, seen / wide, wide / seen) > _APART:
                values = {
                    "mean": trained.mean,
                    "std": wide,
                    "evaluated_mean": evaluated.mean,
                    "evaluated_std": seen,
                }
                return Fact("inputs_apart", None, step, values)
        return None


def _floats(value: Any) -> Iterator[Any]:
    for leaf in tree_leaves(value):
        if type(leaf) is torch.Tensor and leaf.is_floating_point() and not leaf.is_meta:
            yield leaf
