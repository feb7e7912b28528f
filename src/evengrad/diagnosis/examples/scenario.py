"""Runs made from a few numbers: what the rules of a run must and must not fire on."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np

from evengrad.recording.blackbox import Phase
from evengrad.recording.clip import GlobalNorm, as_settings
from evengrad.recording.loss_scaler import ScalerWatch
from evengrad.recording.monitor import Monitor, gradient_rms
from evengrad.values.run import (
    LAYER_FIGURES,
    TENSOR_FIGURES,
    Detail,
    Event,
    EventKind,
    Floats,
    Run,
    RunStatus,
    Step,
    Subject,
    Tensor,
)

_WIDTH = 32
_COLUMNS = ("step", "time", "loss", "rate", "norm", "clipped", "coefficient", "non_finite")


@dataclass(frozen=True)
class Scenario:
    """A training as it would have been watched; events come from the real monitor.

    Attributes:
        steps: how many were made.
        depth: layers, each a square weight matrix and a bias.
        every: steps between two observed ones.
        seed: of the noise.
        optimizer: its class.
        rate: the learning rate.
        loss: how it goes, from ``first_loss``; one that collapses lies at three tenths of that before, one that
            creeps loses half a percent.
        first_loss: its median at the start.
        noise: standard deviation of log(loss) and log(norm) from step to step.
        norm: of all gradients, its median.
        spikes: steps at which the norm stands out.
        spike: what the norm is multiplied by there.
        after_spike: what the loss is multiplied by from the first spike on.
        clip: a bound for the global norm.
        refused: why the guard refused the last step.
        action: what it did then.
        layer: of the origin.
        phase: of the origin.
        dead: share of the middle layer's units at the end.
        saturated: share of the middle layer's elements at the end.
        vanishing: factor that the first layer's gradient has lost by the end.
        vanished: factor that it has lost from step ``vanished_at`` on.
        vanished_at: see there.
        ratio: rms(update) / rms(weights).
        shrinks: factor by which the weights have become smaller at the end.
        skips: steps that a loss scaler skipped.
        scale: of that scaler.
        status: how it ended.
        baseline: the loss of the best constant answer, where it is known.
        dropout: rates of its dropout layers.
        objective: the kind of its loss function.
        inputs: root mean square of what the first trained layer is given.
        targets: the largest one.
        interleaved: another training takes turns with it.
        sorted_share: of the batches, how many hold a class or two of ten.
        grows: factor by which the norm grows from one step to the next.
        given: the rate that the optimizer was made with, where a schedule changes it.
        validation: the loss on other data, epoch by epoch.
    """

    steps: int = 600
    depth: int = 4
    every: int = 10
    seed: int = 0
    optimizer: str = "SGD"
    rate: float = 0.1
    loss: Literal["falls", "flat", "rises", "nan", "collapses", "unbounded", "creeps", "thrown"] = (
        "falls"
    )
    first_loss: float = 2.3
    noise: float = 0.1
    norm: float = 1.0
    spikes: tuple[int, ...] = ()
    spike: float = 100.0
    after_spike: float = 1.0
    clip: float | None = None
    refused: EventKind | None = None
    action: EventKind = EventKind.STOP
    layer: str | None = None
    phase: Phase | None = None
    dead: float = 0.1
    saturated: float = 0.0
    vanishing: float = 1.0
    vanished: float = 1.0
    vanished_at: int = 0
    ratio: float = 1e-3
    shrinks: float = 1.0
    skips: tuple[int, ...] = ()
    scale: float = 65536.0
    status: RunStatus = "finished"
    baseline: float | None = None
    objective: str | None = None
    inputs: float | None = None
    targets: float | None = None
    interleaved: bool = False
    sorted_share: float | None = None
    grows: float = 1.0
    given: float | None = None
    validation: tuple[float, ...] = ()
    dropout: tuple[float, ...] = ()

    @cached_property
    def tensors(self) -> tuple[Tensor, ...]:
        """A square weight matrix and a bias for every layer."""
        return tuple(
            tensor
            for i in range(self.depth)
            for tensor in (
                Tensor(f"layer{i}.weight", f"layer{i}", (_WIDTH, _WIDTH), float(_WIDTH)),
                Tensor(f"layer{i}.bias", f"layer{i}", (_WIDTH,)),
            )
        )

    @property
    def subject(self) -> Subject:
        """What is watched."""
        clip = None if self.clip is None else GlobalNorm(self.clip)
        guard = None if self.refused is None else self.action.value
        settings = {**as_settings(clip), "guard": guard, "every": self.every}
        return Subject(
            "train.py",
            "Net",
            self.optimizer,
            "torch",
            "torch",
            ("torch 2",),
            self.tensors,
            settings,
        )

    def rows(self) -> Iterator[tuple[Step, Floats]]:
        """Every step, with the norms of the tensors' gradients, (tensors,)."""
        generator = np.random.default_rng(self.seed)
        for number in range(self.steps):
            loss = self._level(number) * math.exp(self.noise * generator.normal())
            norm = self.norm * math.exp(self.noise * generator.normal())
            norm *= self.spike if number in self.spikes else 1.0
            norm *= self.grows**number
            norms = self._split(norm, number)
            bad = self.refused is EventKind.NON_FINITE and number == self.steps - 1
            if bad:
                norms[:] = math.nan
                norm = math.nan
            yield self._step(number, loss, norm, bad), norms

    def detail(self, number: int, norms: Floats) -> Detail:
        """An observed step."""
        gradient = gradient_rms(self.tensors, norms)
        figures = np.empty((len(self.tensors), len(TENSOR_FIGURES)))
        figures[:, 0] = gradient
        figures[:, 1] = 4 * gradient
        figures[:, 2] = 0.1
        done = number / max(self.steps - 1, 1)
        figures[:, 3] = self.shrinks**-done / math.sqrt(_WIDTH)
        figures[:, 4] = self.ratio * figures[:, 3]
        names = tuple(f"relu{i}" for i in range(self.depth - 1))
        layers = np.tile([1.0, done * self.saturated, 0.1], (len(names), 1))
        layers[len(names) // 2 : len(names) // 2 + 1, 2] = 0.1 + (self.dead - 0.1) * done
        return Detail(number, figures, layers, names)

    def run(self) -> Run:
        """The run as ``store.load`` would give it."""
        steps, details, samples, recent, events = [], [], [], [], []
        monitor, scaler = Monitor(self.tensors, self.clip is not None), ScalerWatch()
        names: tuple[str, ...] = ()
        for step, norms in self.rows():
            steps.append(step)
            refused = self.refused is not None and step.step == self.steps - 1
            if refused:
                events += self._refused(step)
            elif step.applied:
                events += monitor.step(step)
            events += self._scaled(scaler, step)
            if self.observed(step.step):
                detail = self.detail(step.step, norms)
                names = detail.layer_names
                events += [] if refused else monitor.detail(detail)
                details.append(_long(detail.step, detail.tensors))
                samples.append(_long(detail.step, detail.layers))
            if step.step >= self.steps - 64:
                recent.append(_long(step.step, gradient_rms(self.tensors, norms)[:, None]))
        return Run(
            path=Path("runs/made/run.sqlite"),
            subject=self.subject,
            status=self.status,
            started=0.0,
            layers=names,
            steps={name: np.array([getattr(s, name) for s in steps]) for name in _COLUMNS}
            | {"applied": np.array([int(s.applied) for s in steps])},
            details=_table(details, ("step", "tensor", *TENSOR_FIGURES)),
            samples=_table(samples, ("step", "layer", *LAYER_FIGURES)),
            recent=_table(recent, ("step", "tensor", "gradient_rms")),
            events=tuple(events),
            seen=self._seen(),
        )

    def _seen(self) -> dict[str, Any]:
        found: dict[str, Any] = {
            "baseline": self.baseline,
            "target_high": self.targets,
            "input_rms": self.inputs,
            "sorted_share": self.sorted_share,
            "classes": None if self.sorted_share is None else 10,
            "input_largest": None if self.inputs is None else 3 * self.inputs,
            "objective": None if self.objective is None else [self.objective],
            "given_rate": self.given,
            "schedule": None if self.given is None else "LambdaLR",
            "validation": list(self.validation) or None,
            "dropout": [[f"drop{i}", rate] for i, rate in enumerate(self.dropout)] or None,
        }
        found = {name: value for name, value in found.items() if value is not None}
        return found | ({"interleaved": True} if self.interleaved else {})

    def observed(self, number: int) -> bool:
        """Whether this step is read in full."""
        return number < 10 or number % self.every == 0

    def _level(self, number: int) -> float:
        done = number / max(self.steps - 1, 1)
        level = {
            "falls": 0.05 + 0.95 * math.exp(-8 * done),
            "flat": 1.0,
            "rises": 1.0 + 9 * done,
            "nan": math.nan if done > 0.5 else 1.0,
            "collapses": 0.3 if done < 0.3 else 1.0,
            "unbounded": 1.0 - math.expm1(12 * done),
            "thrown": 1.0 + (1e4 if 0 < done < 0.2 else 0.0),
            "creeps": 1.0 - 0.005 * done,
        }[self.loss]
        spiked = bool(self.spikes) and number > self.spikes[0]
        return self.first_loss * level * (self.after_spike if spiked else 1.0)

    def _split(self, norm: float, number: int) -> Floats:
        """The norm over the tensors, alike but for what the first layer loses."""
        done = number / max(self.steps - 1, 1)
        weights = np.ones(len(self.tensors))
        weights[:2] = self.vanishing**-done / (self.vanished if number >= self.vanished_at else 1.0)
        split: Floats = norm * weights / np.sqrt((weights**2).sum())
        return split

    def _step(self, number: int, loss: float, norm: float, bad: bool) -> Step:
        skipped = number in self.skips
        factor = 1.0 if self.clip is None or bad else min(1.0, self.clip / norm)
        return Step(
            step=number,
            time=number / 50,
            loss=loss,
            rate=self.rate,
            norm=math.inf if skipped else norm,
            clipped=math.nan if skipped or bad else norm * factor,
            coefficient=factor,
            non_finite=len(self.tensors) if bad else 0,
            applied=not skipped and not (self.refused and number == self.steps - 1),
        )

    def _refused(self, step: Step) -> list[Event]:
        assert self.refused is not None
        message = f"{self.layer or 'a layer'} went wrong"
        told = Event(
            step.step,
            self.refused,
            message,
            self.layer,
            {"norm": step.norm, "box": None, "phase": self.phase},
        )
        return [told, Event(step.step, self.action, f"the guard: {self.action.value}", self.layer)]

    def _scaled(self, scaler: ScalerWatch, step: Step) -> list[Event]:
        if not self.skips:
            return []
        verdict = scaler.step(step.step, self.scale, step.step in self.skips)
        if verdict in (None, "normal"):
            return []
        values = {"scale": self.scale, "verdict": verdict}
        return [
            Event(step.step, EventKind.SCALER, f"the loss scaler skips: {verdict}", values=values)
        ]


def _long(step: int, figures: Floats) -> Any:
    """Rows of (step, index, figures...)."""
    count = len(figures)
    return np.column_stack([np.full(count, step), np.arange(count), figures])


def _table(parts: list[Any], names: tuple[str, ...]) -> dict[str, Any]:
    values = np.vstack(parts) if parts else np.empty((0, len(names)))
    return {
        name: values[:, i].astype(np.int64) if i < 2 else values[:, i]
        for i, name in enumerate(names)
    }
