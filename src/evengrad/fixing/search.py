"""In which order remedies are tried: by the diagnosis, or, to compare with, at random or a warm-up alone."""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Protocol

from evengrad.diagnosis.diagnose import diagnose_run
from evengrad.fixing.case import Candidate, Case
from evengrad.fixing.changes.warmup import Warmup
from evengrad.fixing.outcome import Attempt, Plan
from evengrad.fixing.remedies import candidates
from evengrad.recording.reader import load
from evengrad.values.change import Change, in_order
from evengrad.values.finding import Cause, Finding, Severity, Symptom

_FOLLOWING = 3
"""Remedies that are tried on top of one that was not enough."""
_TOGETHER = 3
"""Remedies in one trial at most."""
_PAIRS = 3
"""Pairs of first choices that are tried before second choices."""


class Search(Protocol):
    """Proposes what to try. Nothing is proposed twice."""

    def take(self, count: int) -> list[Candidate]:
        """What to try next, at most so many; nothing when all has been tried."""

    def told(self, attempt: Attempt) -> None:
        """What came of one."""


class ByDiagnosis:
    """One remedy at a time, as ``remedies.candidates`` orders them; where one has removed the most important
    cause and another is left, both together at once; then two together; then second choices.
    """

    def __init__(self, case: Case, plan: Plan) -> None:
        self._case, self._only = case, plan.only
        single = candidates(case, plan.only)
        first = [candidate for candidate in single if candidate.alternative == 0]
        paired, others = _pairs(first, case), (c for c in single if c.alternative > 0)
        self._waiting = first
        self._rest = itertools.chain(itertools.islice(paired, _PAIRS), others, paired)
        self._tried: set[tuple[Change, ...]] = set()

    def take(self, count: int) -> list[Candidate]:
        """See Search."""
        self._waiting = self._new(self._waiting)
        while not self._waiting:
            following = list(itertools.islice(self._rest, 1))
            if not following:
                return []
            self._waiting = self._new(following)
        chosen, self._waiting = self._waiting[:count], self._waiting[count:]
        self._tried |= {candidate.changes for candidate in chosen}
        return chosen

    def told(self, attempt: Attempt) -> None:
        """See Search."""
        self._waiting = [*self._next(attempt), *self._waiting]

    def _new(self, found: Sequence[Candidate]) -> list[Candidate]:
        once = {c.changes: c for c in reversed(found) if c.changes not in self._tried}
        return [c for c in found if once.get(c.changes) is c]

    def _next(self, attempt: Attempt) -> list[Candidate]:
        """What to add to an attempt that removed the most important cause, but not all."""
        case, before, result = self._case, attempt.candidate, attempt.result
        if before is None or before.cause is not next(iter(case.causes), None) or not result.run:
            return []
        if before.remedy.count("+") + 1 == _TOGETHER:
            return []
        findings = diagnose_run(load(Path(result.run)))
        probe = None if case.probe is None else replace(case.probe, rate=None)  # of other weights
        after = replace(case, probe=probe, findings=findings, result=result)
        if before.cause in after.causes:
            return []
        more = (
            c
            for c in candidates(after, self._only)
            if c.remedy not in before.remedy and c.alternative == 0
        )
        return [_both(before, other) for other in itertools.islice(more, _FOLLOWING)]


class AtRandom:
    """The same remedies without a diagnosis: one, or two together, drawn with equal odds, anew each time."""

    _DRAWS = 200

    def __init__(self, case: Case, plan: Plan) -> None:
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

    def told(self, attempt: Attempt) -> None:
        """See Search."""

    def _draw(self) -> Candidate | None:
        first = self._rng.choice(self._single)
        if self._rng.random() < 0.5:
            return first
        second = self._rng.choice(self._single)
        return None if second.remedy == first.remedy else _both(first, second)


class WarmUpOnly:
    """A warm-up of the learning rate, short, longer and over half of a trial."""

    def __init__(self, case: Case, _plan: Plan) -> None:
        lengths = dict.fromkeys(max(case.steps // part, 2) for part in (10, 4, 2))
        self._waiting = [
            Candidate("warm_up", (Warmup(n),), Cause.LEARNING_RATE, 2, f"warm up over {n} steps")
            for n in lengths
        ]

    def take(self, count: int) -> list[Candidate]:
        """See Search."""
        chosen, self._waiting = self._waiting[:count], self._waiting[count:]
        return chosen

    def told(self, attempt: Attempt) -> None:
        """See Search."""


SEARCHES: dict[str, Callable[[Case, Plan], Search]] = {
    "diagnosis": ByDiagnosis,
    "random": AtRandom,
    "warm-up": WarmUpOnly,
}


def _pairs(single: Sequence[Candidate], case: Case) -> Iterator[Candidate]:
    """Two remedies together, the first of them for the most important cause."""
    main: Cause | None = next(iter(case.causes), None)
    ranked = sorted(
        itertools.combinations(range(len(single)), 2), key=lambda pair: (sum(pair), pair)
    )
    for i, j in ranked:
        if single[i].remedy != single[j].remedy and single[i].cause is main:
            yield _both(single[i], single[j])


def _both(first: Candidate, second: Candidate) -> Candidate:
    return Candidate(
        f"{first.remedy} + {second.remedy}",
        in_order((*first.changes, *second.changes)),
        first.cause,
        first.invasiveness + second.invasiveness,
        f"{first.reason}; {second.reason}",
    )
