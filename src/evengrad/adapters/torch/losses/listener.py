"""Hears the calls of a training's loss, and keeps the mistakes that they show."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch

from evengrad.adapters.common.source import where
from evengrad.adapters.torch.compat import unseen
from evengrad.adapters.torch.losses.clamps import Clamps
from evengrad.adapters.torch.losses.ctc import judge_lengths
from evengrad.adapters.torch.losses.cut import judge_cut
from evengrad.adapters.torch.losses.given import LossCall, loss_call
from evengrad.adapters.torch.losses.marks import Mark, Marks
from evengrad.adapters.torch.losses.overlap import Overlaps
from evengrad.adapters.torch.losses.padding import PaddingMasks
from evengrad.adapters.torch.losses.policy import Policies
from evengrad.adapters.torch.losses.shapes import judge_shapes
from evengrad.adapters.torch.losses.softmax import judge_softmax
from evengrad.adapters.torch.losses.summed import KIND as SUMMED
from evengrad.adapters.torch.losses.summed import Sums, scale_free
from evengrad.adapters.torch.losses.targets import judge_targets, where_outside
from evengrad.adapters.torch.losses.terms import Terms, dwarfed
from evengrad.adapters.torch.ops.kinds import LOSSES
from evengrad.values.fact import Fact

_KINDS: dict[str, Callable[[LossCall], dict[str, Any] | None]] = {
    "shapes_broadcast": judge_shapes,
    "targets_outside": judge_targets,
    "one_unit_softmax": judge_softmax,
    "targets_too_long": judge_lengths,
    "axes_cut": judge_cut,
}


class LossListener:
    """Told of every torch call, for it may be one of a loss; changes no value.

    trouble: the first error of our own. terms: follows the losses that a loss is the sum of. by_value: compare
    them by their values; else whoever measures gradients asks for them.
    """

    def __init__(self, *, by_value: bool = False) -> None:
        self.terms = Terms()
        self._by_value = by_value
        self.trouble: Exception | None = None
        self._facts: list[Fact] = []
        self._marks = Marks()
        self._sums = Sums()
        self._padding = PaddingMasks()
        self._policies = Policies()
        self._overlaps = Overlaps()
        self._clamps = Clamps()
        self._coming: Mark | None = None  # of the result of the call that is being made

    def take(self, optimizer: str = "") -> tuple[Fact, ...]:
        """What was seen since the last time. optimizer: whose losses they were, its class's name."""
        found = [f for f in self._facts if f.kind != SUMMED or not scale_free(optimizer)]
        self._facts.clear()
        return tuple(found)

    def summed(self, loss: Any) -> float:
        """By how much a loss is larger than the mean of the elements that it sums up; 1 where it is no sum."""
        try:
            with unseen(), torch.no_grad():
                return self._sums.factor(loss)
        except Exception as error:
            self.trouble = self.trouble or error
            return 1.0

    def add(self, fact: Fact) -> None:
        """Seen by somebody else."""
        self._facts.append(fact)

    def before(self, function: str, args: Any, kwargs: Any) -> None:
        """A call that is about to be made."""
        if self._padding.concerns(function) and torch.is_grad_enabled():
            self._safely(self._judge_mask, function, args, kwargs)
        if function in LOSSES and torch.is_grad_enabled():
            self._safely(self._judge, function, args, kwargs)
        elif function == "backward" and args:
            self._safely(self._differentiated, args[0])

    def after(self, function: str, args: Any, kwargs: Any, result: Any) -> None:
        """It was made."""
        coming, self._coming = self._coming, None
        if coming is not None and isinstance(result, torch.Tensor):
            self._marks.put(result, coming)
        elif self._marks.concerns(function) and torch.is_grad_enabled():
            self._safely(self._follow, function, args, kwargs, result)
        if self._sums.concerns(function) and torch.is_grad_enabled():
            self._safely(self._sums.follow, function, args, kwargs, result)
        if self._clamps.concerns(function) and torch.is_grad_enabled():
            self._safely(self._clamps.follow, function, args, kwargs, result)
        if self._overlaps.concerns(function) and torch.is_grad_enabled():
            self._safely(self._overlap, function, args, kwargs, result)
        if self._policies.concerns(function) and torch.is_grad_enabled():
            self._safely(self._policies.follow, args, kwargs, result)
        if torch.is_grad_enabled():
            self._safely(self.terms.follow, function, args, kwargs, result)

    def _differentiated(self, loss: Any) -> None:
        found = [
            self._sums.of(loss),
            dwarfed(self.terms.of(loss)) if self._by_value else None,
            self._policies.of(loss),
        ]
        self._facts += [fact for fact in found if fact is not None]
        self._facts += self._sums.mixed()

    def _follow(self, function: str, args: Any, kwargs: Any, result: Any) -> None:
        fact = self._marks.follow(function, args, kwargs, result)
        if fact is not None:
            self._facts.append(fact)

    def _overlap(self, function: str, args: Any, kwargs: Any, result: Any) -> None:
        fact = self._overlaps.follow(function, args, kwargs, result)
        if fact is not None:
            self._facts.append(fact)

    def _judge_mask(self, function: str, args: Any, kwargs: Any) -> None:
        fact = self._padding.judge(function, args, kwargs)
        if fact is not None:
            self._facts.append(fact)

    def _judge(self, function: str, args: Any, kwargs: Any) -> None:
        self._coming = None
        call = loss_call(function, args, kwargs)
        if call is None:
            return
        call = replace(call, clamp=self._clamps.of(call.output))
        for kind, judge in _KINDS.items():
            values = judge(call)
            if values is None:
                continue
            bad = where_outside(call) if kind == "targets_outside" else None
            if bad is None:
                self._facts.append(Fact(kind, where(), None, values))
            else:
                self._coming = Mark(kind, where(), values, bad)

    def _safely(self, judge: Callable[..., None], *args: Any) -> None:
        try:
            with unseen(), torch.no_grad():
                judge(*args)
        except Exception as error:
            self.trouble = self.trouble or error
