"""Which cells an experiment has, in which order."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from evengrad.errors import EvengradError
from evengrad.fixing.lab.cells import Cell
from evengrad.fixing.lab.cures import CURES, NO_CURE, Cure
from evengrad.fixing.lab.planted import CAUSES, Planted
from evengrad.fixing.lab.subject import Framework, LabSubject
from evengrad.values.message import msg

_QUICK = ("none", "weights x4", "weights x0.25", "sigmoid", "linear", "rate x10")
_QUICK_HEADS = ("as written", "without the softmax")
_SOUND = (NO_CURE, "clipping", "batch norm")
"""Remedies that a quick grid tries on a sound training, too, for what they do to it."""


@dataclass(frozen=True, slots=True)
class LabPlan:
    """What to measure.

    Attributes:
        script: of the user's own; None for the article's network.
        arguments: the script's ``sys.argv[1:]``.
        module: whether the script is a module's name.
        framework: of the article's network.
        backend: of Keras; empty for PyTorch.
        quick: the small grid.
        seeds: of each cell.
        steps: updates of each training.
        depths: convolutions of the article's network.
        causes: names; all by default.
        cures: names; all by default.
        pretrained: a file of weights for a script of the user's own.
        jobs: trainings side by side.
        folder: where all is kept.
    """

    script: str | None = None
    arguments: tuple[str, ...] = ()
    module: bool = False
    framework: Framework = "torch"
    backend: str = ""
    quick: bool = False
    seeds: int = 3
    steps: int = 200
    depths: tuple[int, ...] = (2, 8, 20)
    causes: tuple[str, ...] = ()
    cures: tuple[str, ...] = ()
    pretrained: str | None = None
    jobs: int = 1
    folder: Path = field(default=Path("runs/lab-article"))


def expect(plan: LabPlan) -> None:
    """Raise EvengradError for a cause or a remedy that there is not."""
    for given, known, what in (
        (plan.causes, [c.name for c in CAUSES], "cause"),
        (plan.cures, [c.name for c in CURES], "remedy"),
    ):
        for name in given:
            if name not in known:
                raise EvengradError(
                    msg(
                        "There is no {what} {name!r}. There are: {known}.",
                        what=what,
                        name=name,
                        known=", ".join(known),
                    )
                )


def cells(plan: LabPlan, subjects: Sequence[LabSubject]) -> list[Cell]:
    """All of them, one seed after the other, so that what is interrupted has every cell once."""
    return [
        cell
        for seed in range(plan.seeds)
        for subject in subjects
        for cause, cure in _places(plan, subject)
        if (cell := Cell(subject, cause, cure, seed)).changes() is not None
    ]


def _places(plan: LabPlan, subject: LabSubject) -> Iterator[tuple[Planted, Cure]]:
    for cause in CAUSES:
        if plan.causes and cause.name not in (*plan.causes, "none"):
            continue
        for cure in CURES:
            if plan.cures and cure.name not in (*plan.cures, NO_CURE):
                continue
            alone = cure.name == NO_CURE or not cause.article
            if alone and _is_wanted(plan, subject, cause, cure):
                yield cause, cure


def _is_wanted(plan: LabPlan, subject: LabSubject, cause: Planted, cure: Cure) -> bool:
    """Whether the quick grid has it: each remedy where the article has it for."""
    if not plan.quick or plan.causes or plan.cures:
        return True
    if cause.article:
        return cause.name in _QUICK_HEADS and subject.convolutions == 2
    if cause.name not in _QUICK:
        return False
    if cure.name == NO_CURE or cause.effect in cure.against:
        return True
    return cause.kind == "none" and cure.name in _SOUND
