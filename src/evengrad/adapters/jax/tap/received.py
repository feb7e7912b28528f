"""The host's end: what comes out of the compiled steps of one optimizer, as a run."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from threading import Lock
from typing import Any

import numpy as np

from evengrad.recording import guard as guards
from evengrad.recording.blackbox import BlackBox
from evengrad.recording.guard import Action
from evengrad.recording.monitor import gradient_rms
from evengrad.recording.session import RefusedStep, Watching
from evengrad.recording.settings import Settings
from evengrad.values.run import Detail, EventKind, Floats, Step, Subject

FIGURES = ("norm", "non_finite", "largest", "zeros", "weight_rms", "update_rms", "reach", "factor")
"""Rows of what a step sends, (figures, tensors)."""
SCALARS = ("loss", "rate", "passed", "handled", "place", "norm", "own_loss")


@dataclass(frozen=True, slots=True)
class ArrivedStep:
    """One step's figures on the host.

    Attributes:
        table: (FIGURES, tensors).
        values: SCALARS by name.
    """

    table: Floats
    values: dict[str, float]

    def row(self, name: str) -> Floats:
        """One figure of all tensors."""
        found: Floats = self.table[FIGURES.index(name)]
        return found


def arrived_step(packed: Any, tensors: int) -> ArrivedStep:
    """Read what a step sent: the table, then the scalars."""
    flat = np.asarray(packed, dtype=np.float64).reshape(-1)
    size = len(FIGURES) * tensors
    values = dict(zip(SCALARS, flat[size:].tolist(), strict=True))
    return ArrivedStep(flat[:size].reshape(len(FIGURES), tensors), values)


class Receiver:
    """Takes the steps of one optimizer as they come, from whatever thread.

    Args:
        subject: what is watched.
        settings: how.
        begin: makes the run, with the first step.
        stepped: is told of each step's run and loss.
        told_loss: gives the mean of the losses that came by themselves since the last call.
        trouble: is told of an error of ours before there is a run.
    """

    def __init__(
        self,
        subject: Subject,
        settings: Settings,
        begin: Callable[[Subject], Watching],
        told_loss: Callable[[], float],
        trouble: Callable[[Exception], object],
        stepped: Callable[[Watching, float], object] = lambda *_: None,
    ) -> None:
        self._stepped = stepped
        self.subject = subject
        self.on = True
        self.step = 0
        self.watching: Watching | None = None
        self._settings = settings
        self._begin, self._told_loss, self._trouble = begin, told_loss, trouble
        self._lock = Lock()

    def updating(self, gradients: Mapping[str, Any]) -> None:
        """An update of these begins to be computed, or traced."""

    def made(self, updates: Mapping[str, Any], maker: Any) -> None:
        """The update that was made of them."""

    def arrived(self, packed: Any) -> None:
        """A step was computed. Raises GuardStopError where the guard stops the training."""
        with self._lock:
            if not self.on:
                return
            try:
                self._take(arrived_step(packed, len(self.subject.tensors)))
            except Exception as error:
                self.on = False
                (self.watching.trouble if self.watching else self._trouble)(error)
            stopped = None if self.watching is None else self.watching.stopped
        if stopped is not None:
            raise stopped

    def start(self) -> Watching:
        """The run, begun where it is not yet."""
        if self.watching is None:
            self.watching = self._begin(self.subject)
        return self.watching

    def _take(self, found: ArrivedStep) -> None:
        values = found.values
        own = self._told_loss()
        if values["place"]:  # another device of the same step
            return
        watching = self.start()
        loss = values["loss"] if values["own_loss"] else own
        norms, total = found.row("norm"), values["norm"]
        factors = found.row("factor")
        clipped = total if (factors >= 1).all() else float(np.hypot.reduce(norms * factors))
        step = Step(
            step=self.step,
            time=watching.now,
            loss=loss,
            rate=values["rate"],
            norm=total,
            clipped=clipped,
            coefficient=clipped / total if total and math.isfinite(total) else 1.0,
            non_finite=int(found.row("non_finite").sum()),
            applied=bool(values["passed"]) and not (values["handled"] and not math.isfinite(total)),
        )
        if values["passed"] or values["handled"]:
            watching.step(step, norms)
        else:
            self._refuse(step, found)
        self._stepped(watching, step.loss)
        if self._settings.observed(self.step):
            watching.detail(self._detail(found))
        self.step += 1

    def _refuse(self, step: Step, found: ArrivedStep) -> None:
        norms, watching = found.row("norm"), self.start()
        factors, reach = found.row("factor"), found.row("reach")
        kind = guards.reason(norms, factors, reach, step.norm, math.inf)
        what = ""
        if np.isfinite(norms).all() and kind is EventKind.NON_FINITE:
            what = (
                "the gradients are finite, and the update that the optimizer makes of them is not"
            )
        refused = RefusedStep(step, norms, kind, lambda why: self._box(step, norms, why), what)
        action = watching.refuse(refused)
        assert action is not Action.ROLLBACK

    def _box(self, step: Step, norms: Floats, kind: EventKind) -> BlackBox:
        """Without weights and batch, which the script alone has."""
        names = [tensor.name for tensor in self.subject.tensors]
        gradients = dict(zip(names, norms.tolist(), strict=True))
        facts = {"loss": step.loss, "rate": step.rate, "framework": "jax"}
        return BlackBox(step.step, str(kind), {}, {}, {}, {}, gradients, None, facts)

    def _detail(self, found: ArrivedStep) -> Detail:
        rms = gradient_rms(self.subject.tensors, found.row("norm"))
        names: Sequence[str] = ("largest", "zeros", "weight_rms", "update_rms")
        values = np.stack([rms, *(found.row(name) for name in names)], axis=1)
        return Detail(self.step, values, np.zeros((0, 3)), ())
