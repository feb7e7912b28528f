"""A training that is not the script's first and goes wrong by its rate: which one, and the rate in the source.

A trial changes the first training live. What comes behind it, such as the fine-tuning of what was trained
before, is changed in the source, and the script is run from its start to its end.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from evengrad.diagnosis.diagnose import diagnose_run
from evengrad.errors import EvengradError
from evengrad.fixing.case import Candidate
from evengrad.fixing.trial import Result
from evengrad.fixing.wording import number
from evengrad.recording.reader import load
from evengrad.values.finding import Cause, Severity
from evengrad.values.run import Run

_FACTORS = (0.1, 0.01, 0.001)
"""What a rate that destroys is brought down by; EG811 asks for a tenth to a hundredth of the one before."""
_WORDS = ("lr", "learning_rate", "rate")


@dataclass(frozen=True, slots=True)
class Later:
    """place: among the script's trainings, from 0. rate: its learning rate."""

    place: int
    rate: float


def trainings(files: list[Path]) -> list[Run]:
    """The runs of a trial in the order in which they began, copies that were stepped once left out."""
    found = []
    for file in files:
        try:
            found.append(load(file))
        except EvengradError:
            continue
    return sorted((r for r in found if len(r.steps["step"]) > 1), key=lambda run: run.started)


def later(result: Result) -> Later | None:
    """Of a trial over the script's own length: the first training with an error by its rate, where those before
    it have none; None where that is the first one, or trainings run side by side.
    """
    if result.run is None or result.optimizers > 1:
        return None
    for place, run in enumerate(trainings(beside(Path(result.run)))):
        errors = [f for f in diagnose_run(run) if f.severity is Severity.ERROR]
        if not errors:
            continue
        rates = run.steps["rate"][np.isfinite(run.steps["rate"])]
        known = place > 0 and len(rates) > 0 and errors[0].cause is Cause.LEARNING_RATE
        return Later(place, float(rates[0])) if known else None
    return None


def beside(file: Path) -> list[Path]:
    """Every run of the trial that a run is of."""
    return list(file.parent.parent.glob(f"*/{file.name}"))


def candidates(source: str, found: Later) -> Iterator[Candidate]:
    """The script with a lower rate for that training, where the source has it as a number; the last such number
    is that of the later training.
    """
    from evengrad.fixing.patch.script.draft import SourceDraft
    from evengrad.fixing.patch.script.source import Source

    script = Source(source)
    places = [node for node in script.expressions() if _is(script.code(node), found.rate)]
    named = [node for node in places if _is_named(script.parent(node))]
    for factor in _FACTORS if places else ():
        rate, draft = float(f"{found.rate * factor:.3g}"), SourceDraft(script)
        draft.replace((named or places)[-1], number(rate))
        words = (
            f"learning rate {number(rate)} for {number(found.rate)} in training {found.place + 1}"
        )
        yield Candidate(
            "later_rate",
            (),
            Cause.LEARNING_RATE,
            1,
            words,
            source=draft.done(),
            training=found.place,
        )


def _is(code: str, rate: float) -> bool:
    try:
        return math.isclose(float(code), rate, rel_tol=1e-5)
    except ValueError:
        return False


def _is_named(above: object) -> bool:
    keyword = getattr(above, "keyword", None)
    return keyword is not None and keyword.value in _WORDS
