"""A diagnosis as a value: what is wrong, why, where, how it shows and what to change."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import IntEnum, StrEnum

from evengrad.values.fact import Where
from evengrad.values.message import msg
from evengrad.values.wording import layers


class Cause(StrEnum):
    """Why gradients go wrong. Reports, JSON and remedies use these words and no others."""

    INITIALISATION = "initialisation"
    ACTIVATION = "activation"
    LEARNING_RATE = "learning_rate"
    NORMALISATION = "normalisation"
    ARCHITECTURE = "architecture"
    INPUT_DATA = "input_data"
    LOSS_HEAD = "loss_head"
    PRECISION = "precision"
    BAD_BATCH = "bad_batch"

    @property
    def words(self) -> str:
        """For people: "learning rate"."""
        return _WORDS[self]


_WORDS = {
    Cause.INITIALISATION: msg("initialisation"),
    Cause.ACTIVATION: msg("activation"),
    Cause.LEARNING_RATE: msg("learning rate"),
    Cause.NORMALISATION: msg("normalisation"),
    Cause.ARCHITECTURE: msg("architecture"),
    Cause.INPUT_DATA: msg("input data"),
    Cause.LOSS_HEAD: msg("loss head"),
    Cause.PRECISION: msg("precision"),
    Cause.BAD_BATCH: msg("bad batch"),
}


class Symptom(StrEnum):
    """How it shows: what a remedy looks at beside the causes. A rule names one where a remedy may need it."""

    EXPLODING = "exploding"
    VANISHING = "vanishing"
    FADING = "fading"  # vanishing in a run
    NOT_FINITE = "not_finite"
    NOT_FINITE_AT_START = "not_finite_at_start"
    UNDERFLOW = "underflow"
    WEIGHT_SCALE = "weight_scale"
    UNEVEN_SLOPES = "uneven_slopes"
    NORMALISED_STACK = "normalised_stack"
    SATURATED = "saturated"
    DEAD_UNITS = "dead_units"
    DYING_UNITS = "dying_units"  # in a run
    INPUT_SCALE = "input_scale"
    UNFIT_HEAD = "unfit_head"
    FIRST_UPDATE_TOO_LARGE = "first_update_too_large"
    OVERWRITING = "overwriting"
    RATE_TOO_LARGE = "rate_too_large"
    RATE_TOO_SMALL = "rate_too_small"
    SPIKES = "spikes"
    DIVERGING = "diverging"
    STANDING_STILL = "standing_still"


class Severity(IntEnum):
    """How much a finding matters.

    Attributes:
        ERROR: the training cannot work as it stands.
        WARNING: it is held back, or works by luck.
    """

    WARNING = 1
    ERROR = 2


@dataclass(frozen=True, slots=True, repr=False)
class Finding:
    """One diagnosis.

    Attributes:
        code: "EG101", stable between versions.
        title: one line, with the figure that matters.
        cause: why the gradients go wrong.
        severity: how much it matters.
        layers: the user's own layer names, forward order.
        evidence: what was measured, one fact a line.
        advice: what to change, in the user's framework, one step a line.
        explained_by: the causes that, where another finding has found one of them, make this finding an echo of
            that one; empty for a finding that names a cause itself.
        echoes: the findings folded into this one by ``diagnose``.
        symptom: how it shows, for the remedies.
        unhealthy: with it a training is not healthy whatever its loss does: gradients explode, vanish or are
            not finite, weights are overwritten, the loss diverges.
        where: the line of the user's script that it comes from; None where it comes from none.
        mistake: something in the script itself that was seen exactly, not concluded from figures. What else is
            measured beside a mistake that is an error is an echo of it: it was measured under that mistake.
    """

    code: str
    title: str
    cause: Cause
    severity: Severity
    layers: tuple[str, ...] = ()
    evidence: tuple[str, ...] = ()
    advice: tuple[str, ...] = ()
    explained_by: tuple[Cause, ...] = ()
    echoes: tuple[Finding, ...] = field(default=())
    symptom: Symptom | None = None
    unhealthy: bool = False
    where: Where | None = None
    mistake: bool = False

    def __str__(self) -> str:
        """Code, title and layers, in one line."""
        where = f" [{layers(self.layers)}]" if self.layers else ""
        return f"{self.code} {self.title}{where}"

    def __repr__(self) -> str:
        return f"<Finding {self}; {self.severity.name.lower()}, cause {self.cause}>"


def with_echoes(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """All of them: what explains others first, then the echoes."""
    roots = tuple(findings)
    return roots + tuple(echo for root in roots for echo in with_echoes(root.echoes))
