"""Searches for a remedy that `evengrad fix` is compared with.

python -m bench.fixes.searches random train.py out.json
"""

from __future__ import annotations

import itertools
import random
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from evengrad.fixing.case import Candidate, Case
from evengrad.fixing.changes.warmup import Warmup
from evengrad.fixing.fix import fix_script
from evengrad.fixing.outcome import Attempt, FixPlan
from evengrad.fixing.remedies import candidates
from evengrad.fixing.search import Search, both
from evengrad.fixing.trials import Silent
from evengrad.report import fix_json
from evengrad.values.change import Change
from evengrad.values.finding import Cause, Finding, Severity, Symptom


class AtRandom:
    """The same remedies without a diagnosis: one, or two together, drawn with equal odds, anew each time."""

    _DRAWS = 200

    def __init__(self, case: Case, plan: FixPlan) -> None:
        findings = tuple(
            Finding("", "", cause, Severity.WARNING, symptom=symptom)
            for symptom, cause in itertools.product(Symptom, Cause)
        )
        self._single = candidates(replace(case, findings=findings), plan.only)
        self._rng = random.Random(plan.target)
        self._tried: set[tuple[Change, ...]] = set()

    def take(self, count: int) -> list[Candidate]:
        """See Search."""
        found: list[Candidate] = []
        for _ in range(self._DRAWS if self._single else 0):
            if len(found) == count:
                break
            chosen = self._draw()
            if chosen is not None and chosen.changes not in self._tried:
                self._tried.add(chosen.changes)
                found.append(chosen)
        return found

    def learn(self, attempt: Attempt) -> None:
        """See Search."""

    def _draw(self) -> Candidate | None:
        first = self._rng.choice(self._single)
        if self._rng.random() < 0.5:
            return first
        second = self._rng.choice(self._single)
        return None if second.remedy == first.remedy else both(first, second)


class WarmUpOnly:
    """A warm-up of the learning rate, short, longer and over half of a trial."""

    def __init__(self, case: Case, _plan: FixPlan) -> None:
        lengths = dict.fromkeys(max(case.steps // part, 2) for part in (10, 4, 2))
        self._waiting = [
            Candidate("warm_up", (Warmup(n),), Cause.LEARNING_RATE, 2, f"warm up over {n} steps")
            for n in lengths
        ]

    def take(self, count: int) -> list[Candidate]:
        """See Search."""
        chosen, self._waiting = self._waiting[:count], self._waiting[count:]
        return chosen

    def learn(self, attempt: Attempt) -> None:
        """See Search."""


SEARCHES: dict[str, Callable[[Case, FixPlan], Search]] = {"random": AtRandom, "warm-up": WarmUpOnly}


def main(name: str, script: str, file: str) -> None:
    """Fix a script by one of them, and write what came of it."""
    found = fix_script(FixPlan(script, reference=False), Silent(), search=SEARCHES[name])
    Path(file).write_text(fix_json.dumps(found), encoding="utf-8")
    if found.patch is not None and not found.patch.manual:
        Path(script).write_text(found.patch.after, encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
