"""A diagnosis as a value: what is wrong, why, where, how it shows and what to change."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum, StrEnum


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


class Severity(IntEnum):
    """How much a finding matters.

    ERROR: the training cannot work as it stands. WARNING: it is held back, or works by luck.
    """

    WARNING = 1
    ERROR = 2


@dataclass(frozen=True, slots=True)
class Finding:
    """One diagnosis.

    code: "EG101", stable between versions. title: one line, with the figure that matters.
    layers: the user's own layer names, forward order. evidence: what was measured, one fact a line.
    advice: what to change, in the user's framework, one step a line.
    explained_by: the causes that, where another finding has found one of them, make this
    finding an echo of that one. Empty for a finding that names a cause itself.
    echoes: the findings folded into this one by ``diagnose``.
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
