"""Run files made from scenarios, through the same Watching that a tap talks to; no framework needed."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np

from evengrad.diagnosis.examples.scenario import Scenario
from evengrad.recording.blackbox import BlackBox, Origin, ReplayedOperation
from evengrad.recording.session import RefusedStep, Watching
from evengrad.recording.settings import Settings

REPLAYED = (
    ReplayedOperation("conv1", "Conv2d", 1.25, 0.0, 0.002, 1.0),
    ReplayedOperation("log", "Log", 3.5, 0.25, 0.004, 0.5),
    ReplayedOperation("head", "Linear", None, 1.0, 0.5, 0.0),
)


def box(step: int, kind: str = "non_finite", origin: str = "log", images: int = 4) -> BlackBox:
    """A black box with a batch whose row 2 holds a NaN."""
    batch = np.linspace(-1, 1, images * 3).reshape(images, 3)
    batch[2, 1] = math.nan
    return BlackBox(
        step=step,
        kind=kind,
        batch={"input": batch, "labels": np.arange(images)},
        weights={"w": np.ones((2, 2), np.float32)},
        optimizer={"w/momentum": np.ones((2, 2), np.float32)},
        noise={},
        gradients={"layer0.weight": math.nan, "layer1.weight": 0.5},
        origin=Origin(origin, "forward", f"{origin} makes 25% of its output NaN or inf", REPLAYED),
        facts={"learning rate": 0.1, "noise": list(range(600))},
    )


def record(scenario: Scenario, folder: Path, *, end: bool = True, listener=None) -> Watching:
    """Write a scenario as a run, and end it unless told not to."""
    watching = Watching(Settings(folder=folder, name="train"), scenario.subject, listener)
    for step, norms in scenario.rows():
        if scenario.refused is not None and step.step == scenario.steps - 1:
            watching.refuse(
                RefusedStep(
                    step, norms, scenario.refused, lambda kind: box(scenario.steps - 1, kind)
                )
            )
        else:
            watching.step(step, norms)
        if scenario.observed(step.step):
            watching.detail(scenario.detail(step.step, norms))
    if end:
        watching.end(scenario.status)
    else:
        watching._writer.flush()
    assert not watching.off
    return watching
