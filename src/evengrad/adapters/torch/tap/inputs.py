"""How large what a model is given is, in training and in evaluation mode."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import torch

from evengrad.adapters.common.scales import InputScale, far_apart
from evengrad.adapters.torch.compat import tree_leaves, unseen
from evengrad.values.fact import Fact

_CALLS = 16
"""Calls of each mode that are looked at."""


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
    def scale(self) -> InputScale:
        """Of all of them; to be asked once there are some."""
        mean = self.sum / self.count
        return InputScale(self.rows, mean, math.sqrt(max(self.squares / self.count - mean**2, 0.0)))


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
            if training or trained is None or not trained.count or not evaluated.count:
                continue
            values = far_apart(trained.scale, evaluated.scale)
            if values is not None:
                return Fact("inputs_apart", None, step, values)
        return None


def _floats(value: Any) -> Iterator[Any]:
    for leaf in tree_leaves(value):
        if type(leaf) is torch.Tensor and leaf.is_floating_point() and not leaf.is_meta:
            yield leaf
