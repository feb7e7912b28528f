"""The cells of an experiment, and what was measured in each, as values."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from evengrad.fixing.lab.cures import CURES, Cure
from evengrad.fixing.lab.planted import CAUSES, Planted, PlantedKind
from evengrad.fixing.lab.subject import LabSubject
from evengrad.fixing.trial import Result
from evengrad.values.change import Change, in_order


@dataclass(frozen=True, slots=True)
class Cell:
    """One training: a network, a cause, a remedy, a seed."""

    subject: LabSubject
    cause: Planted
    cure: Cure
    seed: int

    def changes(self) -> tuple[Change, ...] | None:
        """What plants the cause, and the remedy upon it, whose change of a kind counts; None where it does not
        fit.
        """
        subject, planted = self.subject, self.cause.changes(self.subject)
        cure = self.cure.make(subject, self.cause.activation or subject.activation)
        if cure is None or not self.cause.fits(subject):
            return None
        kinds = {type(change) for change in cure}
        return in_order([*(c for c in planted if type(c) not in kinds), *cure])


@dataclass(frozen=True, slots=True)
class LabTraining:
    """What came of a cell.

    Attributes:
        subject: the network's name.
        cause: the cause's name.
        cure: the remedy's name.
        seed: added to every seed of the script.
        result: its losses, norms, and growth over depth.
        accuracy: on examples that were not trained on, as the script printed it last; None where it did not.
    """

    subject: str
    cause: str
    cure: str
    seed: int
    result: Result
    accuracy: float | None = None

    @property
    def ran(self) -> bool:
        """Whether it is a measurement: it trained, however badly."""
        return self.result.end not in ("failed", "refused", "unseen", "internal")

    @property
    def finite(self) -> bool:
        """Whether all of its losses are."""
        return all(map(math.isfinite, self.result.losses))

    @property
    def loss(self) -> float:
        """The mean of its last quarter of losses; of held-out examples where some were withheld."""
        losses = self.result.held_out if self.result.withheld else self.result.losses
        last = losses[-max(len(losses) // 4, 1) :]
        return float(np.mean(last)) if last else math.nan

    @property
    def reached(self) -> float:
        """The accuracy; where it is not known the share of the constant baseline's loss that is gone, 0 where
        none is; NaN where neither is known.
        """
        if self.accuracy is not None:
            return self.accuracy
        baseline = self.result.baseline
        if baseline is None or not self.ran:
            return math.nan
        return 1 - self.loss / baseline if math.isfinite(self.loss) else 0.0

    @property
    def growth_at_start(self) -> float:
        """Decades by which the gradient grows from output to input before the first step."""
        return _total(self.result.growth_at_start)

    @property
    def growth(self) -> float:
        """The same at the end."""
        return _total(self.result.growth)

    def share(self, cause: str) -> float:
        """Of the growth at the start what is due to one cause, in decades."""
        if not self.result.growth_at_start:
            return math.nan
        return dict(self.result.growth_at_start).get(cause, 0.0)


def _total(growth: Iterable[tuple[str, float]]) -> float:
    values = [decades for _, decades in growth]
    return math.fsum(values) if values and all(map(math.isfinite, values)) else math.nan


class Table:
    """All that was measured.

    Args:
        subjects: the networks.
        measured: in any order.
    """

    def __init__(self, subjects: Sequence[LabSubject], measured: Sequence[LabTraining]) -> None:
        self.subjects = tuple(subjects)
        self.measured = tuple(measured)

    @cached_property
    def _places(self) -> dict[tuple[str, str, str], dict[int, LabTraining]]:
        found: dict[tuple[str, str, str], dict[int, LabTraining]] = {}
        for one in self.measured:
            found.setdefault((one.subject, one.cause, one.cure), {})[one.seed] = one
        return found

    @cached_property
    def causes(self) -> tuple[Planted, ...]:
        """Those that were planted, in order."""
        return tuple(c for c in CAUSES if any(m.cause == c.name for m in self.measured))

    @cached_property
    def cures(self) -> tuple[Cure, ...]:
        """Those that were tried, in order."""
        return tuple(c for c in CURES if any(m.cure == c.name for m in self.measured))

    def of_kind(self, kind: PlantedKind) -> Iterator[Planted]:
        """The causes of a kind that were planted."""
        return (cause for cause in self.causes if cause.kind == kind)

    def at(self, subject: str, cause: str, cure: str = "none") -> dict[int, LabTraining]:
        """What was measured in a place, by seed; only what trained."""
        found = self._places.get((subject, cause, cure), {})
        return {seed: one for seed, one in sorted(found.items()) if one.ran}

    def all_at(self, subject: str, cause: str, cure: str) -> dict[int, LabTraining]:
        """As ``at``, with what did not fit or failed."""
        return self._places.get((subject, cause, cure), {})

    def pairs(
        self, one: tuple[str, str, str], other: tuple[str, str, str]
    ) -> list[tuple[LabTraining, LabTraining]]:
        """Two places with the same seed each."""
        first, second = self.at(*one), self.at(*other)
        return [(first[seed], second[seed]) for seed in first if seed in second]
