"""Gradients under a loss scale: clipped while they still are, never scaled, or never divided."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from evengrad.adapters.common.source import where
from evengrad.adapters.torch.loop.names import shown
from evengrad.adapters.torch.loop.stepper import Report, Stepper, Watcher, gradients
from evengrad.values.fact import Where

_OWN_SCALE = 0.05  # a bound above this share of the scale was scaled by the user himself


class ScaledLoss(Watcher):
    """Knows which gradients are scaled, and by how much."""

    def __init__(self, report: Report) -> None:
        super().__init__(report)
        self._made: list[Any] = []  # where the graphs of scaled losses end
        self._factor = 65536.0
        self._scaled: dict[int, tuple[float, dict[int, float]]] = {}  # optimizer -> scale, norms
        self._plain: dict[int, Where | None] = {}  # optimizer -> the line of its unscaled backward
        self._stepping: set[int] = set()  # optimizers that a scaler steps at this moment
        self._told: set[int] = set()
        self._scaler = "scaler"

    def scales(self, scaler: Any, output: Any) -> None:
        """GradScaler.scale gave this output."""
        if scaler.is_enabled() and getattr(output, "grad_fn", None) is not None:
            self._made = [*self._made[-15:], output.grad_fn]
            self._factor = float(scaler.get_scale())
            self._scaler = shown(scaler)

    def unscales(self, optimizer: Any) -> None:
        """GradScaler.unscale_ divided this optimizer's gradients."""
        self._scaled.pop(id(optimizer), None)

    def backward_ended(self, loss: Any, known: Sequence[Stepper]) -> None:
        """Whose gradients it has made."""
        scaled = _comes_from(loss, self._made)
        for one in known:
            key = id(one.optimizer)
            now = gradients(one.parameters)
            if not any(now.values()):
                continue
            if scaled:
                self._scaled[key] = self._factor, now
                self._plain.pop(key, None)
            elif key not in self._scaled:
                self._plain[key] = where()

    def clips(
        self, parameters: Sequence[Any], bound: float | None, known: Sequence[Stepper]
    ) -> None:
        """The script clips these, by that bound."""
        own = {id(p) for p in parameters}
        for one in known:
            scale, then = self._scaled.get(id(one.optimizer), (1.0, {}))
            held = [p for p in one.parameters if id(p) in own]
            if scale == 1.0 or not held or bound is None or bound > _OWN_SCALE * scale:
                continue
            now = gradients(held)
            if not now or any(now[k] != then.get(k) for k in now):
                continue  # divided by hand
            norm = sum(v * v for v in now.values()) ** 0.5
            values = {
                "optimizer": one.name,
                "bound": bound,
                "scale": scale,
                "norm": norm,
                "unscaled": norm / scale,
            }
            self.report(one, "clipped_scaled", where(), values)

    def scaled(self, one: Stepper) -> bool:
        """Whether its gradients are, at this moment."""
        return id(one.optimizer) in self._scaled

    def scaler_steps(self, scaler: Any, one: Stepper) -> None:
        """GradScaler.step is called with this optimizer."""
        key = id(one.optimizer)
        self._stepping.add(key)
        if scaler.is_enabled() and key in self._plain and key not in self._scaled:
            place = self._plain[key]
            values = {
                "optimizer": one.name,
                "scaler": shown(scaler),
                "step": str(where() or ""),
                "scale": self._factor,
            }
            self.report(one, "loss_unscaled", place, values)

    def over(self, one: Stepper) -> None:
        """The scaler has made, or skipped, this optimizer's step."""
        self._stepping.discard(id(one.optimizer))
        self._forget(one)

    def step_begins(self, one: Stepper) -> None:
        """Without the scaler, which would have divided them first: for plain gradient descent alone, as the
        others divide by the gradient's size.
        """
        key = id(one.optimizer)
        if key in self._stepping | self._told or not isinstance(one.optimizer, torch.optim.SGD):
            return
        scale, then = self._scaled.get(key, (1.0, {}))
        now = gradients(one.parameters)
        if scale == 1.0 or not now or any(now[k] != then.get(k) for k in now):
            return  # divided or clipped by hand
        self._told.add(key)
        values = {"optimizer": one.name, "scaler": self._scaler, "scale": scale, "kept": True}
        self.report(one, "loss_unscaled", where(), values)

    def stepped(self, one: Stepper, _known: Sequence[Stepper]) -> None:
        """What it has taken is over; a scaler's own step says so itself."""
        if id(one.optimizer) not in self._stepping:
            self._forget(one)

    def _forget(self, one: Stepper) -> None:
        self._scaled.pop(id(one.optimizer), None)
        self._plain.pop(id(one.optimizer), None)


def _comes_from(loss: Any, made: Sequence[Any]) -> bool:
    """Whether a graph has one of these nodes in it, near its end."""
    left, seen = [getattr(loss, "grad_fn", None)], set[Any]()
    while left and len(seen) < 1000:
        node = left.pop(0)
        if node is None or node in seen:
            continue
        if any(node is one for one in made):
            return True
        seen.add(node)
        left += [child for child, _ in node.next_functions]
    return False
