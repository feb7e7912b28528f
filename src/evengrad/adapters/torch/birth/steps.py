"""Follows a script from step to step until one goes wrong: its backward passes, and its updates."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch.optim.optimizer import (
    register_optimizer_step_post_hook,
    register_optimizer_step_pre_hook,
)

from evengrad.adapters.common.patching import Patches
from evengrad.adapters.common.sessions import InquirySession
from evengrad.adapters.common.source import where
from evengrad.adapters.torch.birth.backward import GraphWatch
from evengrad.adapters.torch.birth.heard import Beginning, figures
from evengrad.adapters.torch.birth.listen import Listener
from evengrad.adapters.torch.birth.telling import KIND, fact_of
from evengrad.adapters.torch.compat import compile_later
from evengrad.values.fact import Fact, Where

_ENOUGH = 3
"""So many losses that are not finite count though their gradients are: one may be a batch without any."""


@dataclass(slots=True)
class Suspicion:
    """A backward pass whose gradients are not finite; of interest once a step would be made with them.

    Attributes:
        beginning: where that began.
        leaves: whose gradients; None for all that the loss reaches.
    """

    beginning: Beginning
    leaves: list[weakref.ref[Any]] | None = field(default=None)


class StepFollower:
    """All that is put on a script to find where something not finite was born."""

    def __init__(self, session: InquirySession) -> None:
        self.session = session
        self.steps = 0
        self.listener = Listener(awake=session.step == 0)
        self._suspicions: list[Suspicion] = []
        self._losses: list[
            Beginning
        ] = []  # of losses that are not finite, whatever their gradients
        self._clean: Where | None = None
        self._sound = False
        self._patches = Patches()
        self._patches.on_undo(register_optimizer_step_pre_hook(self._before).remove)
        self._patches.on_undo(register_optimizer_step_post_hook(self._after).remove)
        self._patches.wrap(torch.autograd, "backward", self._backward)
        self._patches.wrap(torch.autograd, "grad", self._grad)
        self._patches.wrap(torch.amp.GradScaler, "scale", self._scale)
        self._patches.wrap(torch.amp.GradScaler, "step", self._scaler_step)
        compile_later(self._patches)
        self.listener.enter()
        self._patches.on_undo(self.listener.leave)

    def remove(self) -> None:
        """Take everything off."""
        self._patches.undo()

    def flush(self) -> None:
        """The script ended without another step: its last backward pass counts, else its losses."""
        if self._suspicions:
            self._tell(self._suspicions[0].beginning)
        if self._losses:
            self._tell(self._losses[0])
        last = self.listener.last
        if last is not None and last.born is not None:
            self._tell(last.born)

    # --- backward passes -------------------------------------------------------------------------

    def _backward(self, original: Callable[..., Any]) -> Callable[..., Any]:
        def backward(tensors: Any, *args: Any, **kwargs: Any) -> Any:
            watch = self._watch(tensors)
            if watch is None:
                return original(tensors, *args, **kwargs)
            try:
                return original(tensors, *args, **kwargs)
            finally:
                watch.remove()
                self._suspect(watch)

        return backward

    def _grad(self, original: Callable[..., Any]) -> Callable[..., Any]:
        def grad(outputs: Any, inputs: Any, *args: Any, **kwargs: Any) -> Any:
            watch = self._watch(outputs)
            if watch is None:
                return original(outputs, inputs, *args, **kwargs)
            try:
                found = original(outputs, inputs, *args, **kwargs)
            finally:
                watch.remove()
            self._mark(watch, inputs, found)
            return found

        return grad

    def _watch(self, tensors: Any) -> GraphWatch | None:
        """None where nothing is to be seen: not yet, or the forward pass already is not finite."""
        if not self.listener.awake:
            return None
        roots = [tensors] if isinstance(tensors, torch.Tensor) else list(tensors)
        try:
            with self.listener.deaf():
                born = [self._born(root) for root in roots]
                first = next((one for one in born if one is not None), None)
                if first is not None:
                    self._suspicions.append(Suspicion(first))
                    self._losses.append(first)
                    return None
                return GraphWatch(self.listener, roots)
        except Exception as error:
            self.listener.trouble = self.listener.trouble or error
            return None

    def _born(self, root: Any) -> Beginning | None:
        known = self.listener.known(root)
        return None if known is None else known.born

    def _suspect(self, watch: GraphWatch) -> None:
        if watch.reached:
            first = min((beginning for _, beginning in watch.reached), key=lambda one: one.order)
            leaves = [weakref.ref(leaf) for leaf, _ in watch.reached]
            self._suspicions.append(Suspicion(first, leaves))

    def _mark(self, watch: GraphWatch, inputs: Any, found: Any) -> None:
        """What ``autograd.grad`` gave goes on into a loss."""
        given = [inputs] if isinstance(inputs, torch.Tensor) else list(inputs)
        with self.listener.deaf():
            for tensor, gradient in zip(given, found, strict=False):
                heard = None if gradient is None else figures(gradient)
                if heard is not None and heard.bad:
                    heard.born, heard.trained = watch.arrived(tensor), True
                    self.listener.keep(gradient, heard)

    # --- steps -----------------------------------------------------------------------------------

    def _before(self, optimizer: Any, args: Any, kwargs: Any) -> None:
        if not self.listener.awake or any(callable(a) for a in [*args[1:], *kwargs.values()]):
            return
        if getattr(optimizer, "found_inf", None) is not None and bool(optimizer.found_inf):
            return
        with self.listener.deaf():
            parameters = _parameters(optimizer)
            self._judge(parameters)
            self._sound = _finite(parameters) and _finite([p.grad for p in parameters])
            self._clean = where()

    def _after(self, optimizer: Any, _args: Any, _kwargs: Any) -> None:
        if self.listener.awake:
            with self.listener.deaf():
                self._judge(_parameters(optimizer))
                self._judge_losses()
                if self._sound:
                    self._judge_update(optimizer)
        self._sound = False
        self.listener.forget()
        self._count()

    def _count(self) -> None:
        self.steps += 1
        self.listener.awake = self.listener.awake or self.steps >= self.session.step

    def _judge(self, parameters: list[Any]) -> None:
        """Whether a step is made with a gradient that is not finite: then where that began is told."""
        bad = {id(p) for p in parameters if not _finite([p.grad])}
        for suspicion in list(self._suspicions):
            leaves = suspicion.leaves
            alive = [ref() for ref in leaves] if leaves is not None else []
            if bad and (leaves is None or any(id(leaf) in bad for leaf in alive)):
                self._tell(suspicion.beginning)
            if not bad and all(leaf is None or _finite([leaf.grad]) for leaf in alive):
                self._suspicions.remove(suspicion)

    def _judge_losses(self) -> None:
        if len(self._losses) >= _ENOUGH:
            self._tell(self._losses[0])

    def _judge_update(self, optimizer: Any) -> None:
        """Whether finite gradients have made weights that are not finite."""
        for group in optimizer.param_groups:
            for parameter in group["params"]:
                seen = figures(parameter)
                if seen.bad:
                    self.session.born(self._update(optimizer, group, parameter, seen))

    def _update(self, optimizer: Any, group: Any, parameter: Any, seen: Any) -> Fact:
        gradient = None if parameter.grad is None else figures(parameter.grad)
        names = {id(p): n for root in self.listener.roots for n, p in root.named_parameters()}
        values = {
            "operation": "update",
            "call": f"{type(optimizer).__name__}.step()",
            "direction": "forward",
            "role": "weights",
            "operand": "",
            "name": names.get(id(parameter), ""),
            "what": "nan" if seen.nan else "inf",
            "share": seen.bad,
            "dtype": seen.dtype,
            "eps": group.get("eps"),
            "rate": float(group["lr"]) if "lr" in group else None,
            "low": None if gradient is None else gradient.low,
            "high": None if gradient is None else gradient.high,
            "zeros": None if gradient is None else gradient.zeros,
            "hidden": False,
        }
        return Fact(KIND, self._clean, self.steps, values)

    def _tell(self, beginning: Beginning) -> None:
        listener = self.listener
        self.session.born(fact_of(beginning, self.steps, listener.roots, listener.batch_high))

    # --- patches ---------------------------------------------------------------------------------

    def _scale(self, original: Callable[..., Any]) -> Callable[..., Any]:
        """A loss that is scaled is what it was: that its scale overflows is no birth."""

        def scale(scaler: Any, outputs: Any) -> Any:
            if not self.listener.awake or not isinstance(outputs, torch.Tensor):
                return original(scaler, outputs)
            with self.listener.deaf():
                found = original(scaler, outputs)
            known = self.listener.known(outputs)
            if known is not None and found is not outputs:
                self.listener.keep(found, known)
            return found

        return scale

    def _scaler_step(self, original: Callable[..., Any]) -> Callable[..., Any]:
        """A loss scaler that skips a step: it counts; gradients that overflowed are no birth, losses are."""

        def step(scaler: Any, optimizer: Any, *args: Any, **kwargs: Any) -> Any:
            before = self.steps
            found = original(scaler, optimizer, *args, **kwargs)
            if self.steps == before:
                self._suspicions.clear()
                self._judge_losses()
                self.listener.forget()
                self._count()
            return found

        return step


def _parameters(optimizer: Any) -> list[Any]:
    return [p for group in optimizer.param_groups for p in group["params"]]


def _finite(tensors: list[Any]) -> bool:
    return all(t is None or not figures(t).bad for t in tensors)
