"""The ways to train one step: bare, clipped by PyTorch, watched by evengrad, watched by others.

A way is a class: ``attach`` once, then ``begin``, ``backward`` and ``update`` at each step. What cannot be
imported raises Missing, and its row says so.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from bench.watching.lanes import Missing

RATE = 1e-5
"""So small that the gradient's norm stays where it was, and a bound binds always or never."""


@dataclass
class Training:
    """A model with its optimizer; ``bound`` is what this way clips at."""

    model: nn.Module
    optimizer: torch.optim.Optimizer
    bound: float
    step: int = 0


class Way:
    """The bare step, and what others put around it."""

    def attach(self, training: Training) -> None:
        """Before the first step."""

    def begin(self, training: Training) -> None:
        """Before the forward pass."""

    def during(self) -> Any:
        """A context around forward and backward."""
        return nullcontext()

    def update(self, training: Training) -> None:
        """After the backward pass."""
        training.optimizer.step()


class Clip(Way):
    """PyTorch's own clip of the global norm."""

    def update(self, training: Training) -> None:
        """One pass for the norm, one to multiply, whether it binds or not."""
        torch.nn.utils.clip_grad_norm_(training.model.parameters(), training.bound)
        training.optimizer.step()


class Evengrad(Way):
    """evengrad's watch. clip: also clip at the training's bound. write: into a folder, as by default."""

    def __init__(self, *, clip: bool, write: bool = False) -> None:
        self.clip, self.write = clip, write

    def attach(self, training: Training) -> None:
        """One handle, for good."""
        import evengrad

        if not hasattr(evengrad, "watch"):
            raise Missing("evengrad.watch is not there yet")
        folder = tempfile.mkdtemp(prefix="watching-") if self.write else None
        clip = training.bound if self.clip else None
        evengrad.watch(
            training.model, training.optimizer, clip=clip, guard="stop", every=10, folder=folder
        )


class Wandb(Way):
    """wandb.watch, histograms of all gradients at every step, offline."""

    def attach(self, training: Training) -> None:
        """A run in a temporary folder; it never reaches the network."""
        os.environ |= {"WANDB_MODE": "offline", "WANDB_SILENT": "true", "WANDB_CONSOLE": "off"}
        wandb = _module("wandb")
        folder = tempfile.mkdtemp(prefix="wandb-")
        self.run = wandb.init(mode="offline", dir=folder, project="bench")
        self.run.watch(training.model, log="gradients", log_freq=1)

    def update(self, training: Training) -> None:
        """The row of this step is written with the histograms in it."""
        training.optimizer.step()
        self.run.log({"step": training.step})


class ModuleMonitor(Way):
    """torch-module-monitor. full: its README's example, activations, parameters and gradients."""

    def __init__(self, every: int, *, full: bool) -> None:
        self.every, self.full = every, full

    def attach(self, training: Training) -> None:
        """Metrics as in its README."""
        kind = _module("torch_module_monitor").ModuleMonitor
        self.monitor = kind(monitor_step_fn=lambda step: step % self.every == 0)
        self.monitor.set_module(training.model)
        self.monitor.add_gradient_metric("norm", lambda x: x.norm())
        if self.full:
            self.monitor.add_activation_metric("mean", lambda x: x.float().mean())
            self.monitor.add_parameter_metric("norm", lambda x: x.norm())

    def begin(self, training: Training) -> None:
        """It has to be told."""
        self.monitor.begin_step(training.step)

    def update(self, training: Training) -> None:
        """The calls of its README, in their order."""
        if self.full:
            self.monitor.monitor_parameters()
        self.monitor.monitor_gradients()
        training.optimizer.step()
        self.monitor.end_step()
        if self.monitor.is_step_monitored(training.step):
            self.monitor.get_step_metrics()


class Traintools(Way):
    """traintools' GradientHealthMonitor at every step."""

    def attach(self, training: Training) -> None:
        """With its clip coefficient."""
        self.health = _module("traintools").GradientHealthMonitor(max_grad_norm=training.bound)

    def update(self, training: Training) -> None:
        """Between backward and step, as its documentation says."""
        self.health.inspect(training.model, step=training.step, lr=RATE)
        training.optimizer.step()


class Anomaly(Way):
    """torch.autograd.set_detect_anomaly(True)."""

    def during(self) -> Any:
        """Around forward and backward."""
        return torch.autograd.set_detect_anomaly(True)


@dataclass(frozen=True)
class Row:
    """A way with an optimizer, fused or not. key: what the figures know it by. few: rounds will do."""

    name: str
    way: Callable[[], Way]
    key: str = ""
    fused: bool = False
    few: bool = False


def _clip() -> Way:
    return Evengrad(clip=True)


ROWS = [
    row
    for fused in (False, True)
    for row in (
        Row("bare step", Way, "bare", fused),
        Row("bare step, a second copy", Way, "again", fused),
        Row("clip_grad_norm_", Clip, "clip", fused),
        Row("evengrad, clip never binds", _clip, "never", fused),
        Row("evengrad, clip always binds", _clip, "binds", fused),
        Row(
            "evengrad.watch, default settings",
            lambda: Evengrad(clip=False, write=True),
            "watch",
            fused,
        ),
    )
] + [
    Row(name, way, few=True)
    for name, way in (
        ("wandb.watch, offline, every step", Wandb),
        ("torch-module-monitor, gradients, every step", lambda: ModuleMonitor(1, full=False)),
        ("torch-module-monitor, all, every 10th", lambda: ModuleMonitor(10, full=True)),
        ("traintools, every step", Traintools),
        ("detect_anomaly", Anomaly),
    )
]


def _module(name: str) -> Any:
    import importlib

    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise Missing(f"not installed ({error})") from error
