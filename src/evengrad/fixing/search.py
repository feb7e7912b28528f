"""In which order remedies are tried: by the diagnosis."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Protocol

from evengrad.diagnosis.diagnose import diagnose_run
from evengrad.fixing.case import Candidate, Case
from evengrad.fixing.outcome import Attempt, FixPlan
from evengrad.fixing.remedies import candidates
from evengrad.recording.reader import load
from evengrad.values.change import Change, in_order
from evengrad.values.finding import Cause
from evengrad.values.message import joined, msg

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

    def learn(self, attempt: Attempt) -> None:
        """What came of one."""


class ByDiagnosis:
    """One remedy at a time, as ``remedies.candidates`` orders them; where one has removed the most important
    cause and another is left, both together at once; then two together; then second choices.
    """

    def __init__(self, case: Case, plan: FixPlan) -> None:
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

    def learn(self, attempt: Attempt) -> None:
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
            if c.remedy not in before.remedy and c.alternative == 0 and _go_together(before, c)
        )
        return [both(before, other) for other in itertools.islice(more, _FOLLOWING)]


def _pairs(single: Sequence[Candidate], case: Case) -> Iterator[Candidate]:
    """Two remedies together, the first of them for the most important cause."""
    main: Cause | None = next(iter(case.causes), None)
    ranked = sorted(
        itertools.combinations(range(len(single)), 2), key=lambda pair: (sum(pair), pair)
    )
    for i, j in ranked:
        if single[i].cause is main and _go_together(single[i], single[j]):
            yield both(single[i], single[j])


def _go_together(first: Candidate, second: Candidate) -> bool:
    """Not what sets the rate at each step with another remedy for the rate, which would have no effect."""
    sets_rate = any(change.sets_rate for c in (first, second) for change in c.changes)
    rates = first.cause is second.cause is Cause.LEARNING_RATE
    return first.remedy != second.remedy and not (sets_rate and rates)


def both(first: Candidate, second: Candidate) -> Candidate:
    """Two remedies as one."""
    return Candidate(
        f"{first.remedy} + {second.remedy}",
        in_order((*first.changes, *second.changes)),
        first.cause,
        first.invasiveness + second.invasiveness,
        joined(msg("; "), (first.reason, second.reason)),
    )
