"""The course of a fix: the script as it is, its mistakes repaired, the reference, remedies, the proof."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from evengrad.diagnosis.catalogue import all_fact_rules
from evengrad.errors import InternalError
from evengrad.fixing import repairs
from evengrad.fixing.case import Candidate, Case
from evengrad.fixing.later import Later
from evengrad.fixing.later import candidates as slowed
from evengrad.fixing.later import later as later_training
from evengrad.fixing.outcome import Attempt, Fixing, FixPlan
from evengrad.fixing.reference import optimizer_alone, references
from evengrad.fixing.search import Search
from evengrad.fixing.sight import Sight, look
from evengrad.fixing.trials import FixListener, Trials
from evengrad.fixing.verdict import objection
from evengrad.fixing.yardstick import (
    HELD_BACK,
    MARGIN,
    PROVED,
    Yardstick,
    by_rank,
    is_plain_success,
    yardstick,
)
from evengrad.values.fact import Fact
from evengrad.values.finding import Finding
from evengrad.values.message import joined, msg

if TYPE_CHECKING:
    from evengrad.fixing.patch import Patch

_FOR_A_HIDDEN_FAULT = 2
"""Remedies that are tried, each alone, on a training that is healthy and learns in spite of a fault."""
_FIRST = 4
"""Losses that say where a training began."""
_MISTAKES = 4
"""Mistakes that are repaired one after another, at most."""

Proved = tuple[Candidate, "Patch", tuple[Attempt, ...]]


class Course:
    """One fix, from the script as it is to the proof.

    Args:
        plan: what to fix and at what cost.
        trials: performs them.
        listener: told of each.
        search: makes what says which remedies are tried, and in which order.
    """

    def __init__(
        self,
        plan: FixPlan,
        trials: Trials,
        listener: FixListener,
        search: Callable[[Case, FixPlan], Search],
    ) -> None:
        self.plan, self.trials, self.listener = plan, trials, listener
        self._search = search
        self._attempts: list[Attempt] = []
        self._reference: Attempt | None = None
        self._measure: Yardstick | None = None

    def run(self) -> Fixing:
        """From the script as it is to the proof."""
        first = self.trials.one(None, 0)
        if first.result.end == "internal":
            return self._internal(first.result.message, plain=(first,))
        over = first.result.end in ("failed", "unseen", "refused")
        cannot = Fixing(self.plan, "cannot_run", plain=(first,), message=first.result.message)
        if over and first.result.run is None:
            return cannot
        plain = self._plain(first)
        worst = next((a for a in plain if not a.verdict.good), first)
        try:
            sight = look(self.plan, worst, self.trials.folder)
        except InternalError as error:
            return self._internal(str(error), plain=tuple(plain))
        if over and not sight.mistakes:
            return cannot  # by itself; a script that a mistake has ended can be repaired
        well = worst.verdict.good and not sight.errors
        if well and self._is_held_back(plain, sight):
            well, words = False, self._short_of(plain[-1])
            plain[-1] = _refused(plain[-1], words)
        findings = self._hidden(plain, sight) if well else sight.findings
        found = Fixing(self.plan, "healthy" if well else "not_fixed", findings, tuple(plain))
        if well and not findings:
            return replace(found, reference=self._reference)
        self.listener.found(findings)
        proved = self._beyond(plain, sight) if well else self._cured(sight)
        return self._ended(found, proved, well)

    # --- the script as it is ---------------------------------------------------------------------------

    def _plain(self, first: Attempt) -> list[Attempt]:
        """Its trials: the first seed alone where it is sick with that; one over its own length."""
        plain = [first]
        if first.verdict.good:
            plain += [
                self.trials.one(None, seed, whole=seed == 1) for seed in range(1, self.plan.seeds)
            ]
        if all(a.verdict.good for a in plain):
            against = objection([a.result for a in plain])
            if against is not None:
                plain[-1] = _refused(plain[-1], against)
        return plain

    def _is_held_back(self, plain: Sequence[Attempt], sight: Sight) -> bool:
        """Whether it comes less than half as far as the reference does in fewer steps, at its own end."""
        whole = [a for a in plain if a.result.end == "finished"]
        if self.plan.only or not whole or any(map(is_plain_success, (plain[0], whole[-1]))):
            return False
        if plain[0].result.optimizers > 1:
            return False
        self._refer(sight.case(self.plan), None)
        return (
            self._measure is not None and self._measure.share(whole[-1].verdict.level) < HELD_BACK
        )

    def _hidden(self, plain: Sequence[Attempt], sight: Sight) -> tuple[Finding, ...]:
        """What may hold a training back that learns: mistakes, too, where it does not plainly do well."""
        own = tuple(f for f in sight.findings if f.mistake)
        if self.plan.only or any(map(is_plain_success, plain)):
            return sight.faults
        return (*own, *(f for f in sight.faults if f not in own))

    def _short_of(self, attempt: Attempt) -> str:
        assert self._measure is not None
        return (
            f"its loss ends at {attempt.verdict.level:.4g}, where the standard recipe comes to "
            f"{self._measure.goal:.4g} in {self.plan.steps} steps"
        )

    def _beyond(self, plain: Sequence[Attempt], sight: Sight) -> Proved | None:
        """What ends lower than a training that is well in spite of a fault."""
        self.trials.to_beat = {a.seed: a.result for a in plain if a.result.end != "finished"}
        case = sight.case(self.plan)
        if any(f.mistake for f in self._hidden(plain, sight)):
            base = self._repaired(sight)
            proved = None if base is None or not base.verdict.good else self._prove(base, case)
            if proved is not None:
                return proved
        for attempt in self._promising(case, None, min(self.plan.budget, _FOR_A_HIDDEN_FAULT)):
            if attempt.verdict.good and (proved := self._prove(attempt, case)) is not None:
                return proved
        return None

    # --- what is sick ----------------------------------------------------------------------------------

    def _cured(self, sight: Sight) -> Proved | None:
        """The change that makes it train well."""
        base = None if self.plan.only else self._repaired(sight)
        if base is not None:
            sight = look(self.plan, base, self.trials.folder)
        case, upon = sight.case(self.plan), None if base is None else base.candidate
        later = None if base is not None or self.plan.only else later_training(sight.attempt.result)
        if later is not None:
            return self._slowed(later, case)
        plainly = base is not None and is_plain_success(base)
        if self._reference is None and not plainly:
            self._refer(case, upon)
        if base is not None and self._cures(base):
            proved = self._prove(base, case, checked=sight.probe is not None and not sight.errors)
            if proved is not None:
                if plainly and not is_plain_success(_longest(proved[2]), 1 - MARGIN):
                    self._refer(case, upon)
                far = _longest(proved[2]).verdict.level <= self._level(MARGIN)
                return proved if far else self._farther(proved, case)
        if plainly:
            self._refer(case, upon)
        for attempt in self._promising(case, upon, self.plan.budget):
            if self._cures(attempt) and (proved := self._prove(attempt, case)) is not None:
                return proved
        for attempt in self._left():
            proved = self._prove(attempt, case)
            if proved is not None:
                return proved
        return None

    def _farther(self, repaired: Proved, case: Case) -> Proved:
        """A slow script without mistakes: with the reference's optimizer, if it comes as far with that."""
        own = optimizer_alone(case)
        written = None if own is None else self._in_source(_upon(repaired[0], own), case)
        if written is None:
            return repaired
        attempt = self.trials.one(written, 0)
        self._attempts.append(attempt)
        return (self._prove(attempt, case) if self._cures(attempt) else None) or repaired

    def _slowed(self, found: Later, case: Case) -> Proved | None:
        """A lower rate for a later training: of those that learn the one that comes farthest."""
        tried: list[Attempt] = []
        for candidate in slowed(self.trials.source, found):
            tried.append(self.trials.one(candidate, 0, whole=True))
        self._attempts += tried
        good = [attempt for attempt in tried if attempt.verdict.good]
        for attempt in sorted(good, key=lambda attempt: attempt.verdict.level):
            if (proved := self._prove(attempt, case)) is not None:
                return proved
        return None

    def _repaired(self, sight: Sight) -> Attempt | None:
        """A trial of the script without its mistakes, as far as they could be repaired; None if none could."""
        best: Attempt | None = None
        for _ in range(_MISTAKES):
            done = self._without_one(best, sight)
            if done is None:
                break
            best = done
            sight = look(self.plan, best, self.trials.folder, probed=False)
        return best

    def _without_one(self, best: Attempt | None, sight: Sight) -> Attempt | None:
        before = None if best is None else best.candidate
        source = self.trials.source if before is None or before.source is None else before.source
        facts = (*sight.mistakes, *sight.concluded)
        kinds = [fact.kind for fact in facts]
        for fact in facts:
            without = fact.kind if kinds.count(fact.kind) == 1 else ""
            for candidate in repairs.candidates(source, fact, self.plan.target, before):
                if self._is_still_seen(candidate, fact, sight):
                    continue
                attempt = self.trials.one(candidate, 0, without=without)
                self._attempts.append(attempt)
                if _is_as_sick(attempt, fact, sight):
                    continue
                if _is_without(attempt, fact, self.plan, self.trials):
                    return attempt
        return None

    def _is_still_seen(self, candidate: Candidate, fact: Fact, before: Sight) -> bool:
        """Whether a mistake that the check has seen, and no trial, is one that it still sees."""
        told = any(one.kind == fact.kind for one in before.told)
        codes = {rule.code for rule in all_fact_rules() if rule.fact == fact.kind}
        errors = [f for f in before.errors if f.code in codes]
        if told or not errors or candidate.source is None:
            return False
        result = self.trials.check(candidate.source)
        left = [text for text in result.unhealthy if str(text).split(" ", 1)[0] in codes]
        return result.end == "finished" and len(left) >= len(errors)

    def _refer(self, case: Case, upon: Candidate | None) -> None:
        """Run the reference beside what is tried, at the same budget."""
        wanted = self.plan.reference and not self.plan.only and case.result.optimizers == 1
        for candidate in references(case) if wanted else ():
            written = self._in_source(_upon(upon, candidate), case)
            if written is None:
                continue
            attempt = self.trials.one(written, 0)
            self._attempts.append(attempt)
            if attempt.result.end not in ("refused", "failed"):
                self._reference, self._measure = attempt, yardstick(attempt)
                return

    def _promising(self, case: Case, upon: Candidate | None, left: int) -> Iterator[Attempt]:
        """Every trial of a remedy, upon the repaired script where it was, as the search orders them."""
        search = self._search(case, self.plan)
        while chosen := search.take(min(self.plan.jobs, left)):
            pairs = [(own, self._in_source(_upon(upon, own), case)) for own in chosen]
            tried = [(own, written) for own, written in pairs if written is not None]
            left -= len(tried)
            attempts = self.trials.side_by_side([written for _, written in tried])
            for (own, _), attempt in zip(tried, attempts, strict=True):
                self._attempts.append(attempt)
                yield attempt
                search.learn(replace(attempt, candidate=own))

    def _in_source(self, candidate: Candidate, case: Case) -> Candidate | None:
        """As it is, where changes can be made live; else written into the source, None where it cannot be."""
        if case.result.changeable or not candidate.changes:
            return candidate
        patch = self._written(candidate, case)
        if patch.manual:
            return None
        return replace(candidate, changes=(), source=patch.after)

    def _written(self, candidate: Candidate, case: Case) -> Patch:
        """A candidate as a patch of the user's script."""
        from evengrad.fixing.patch import (
            Patch,
            write,  # LibCST takes a fifth of a second, which only a fix needs
        )

        before = self.trials.source
        found = write(
            candidate.source or before, candidate.changes, case.frontend, self.plan.target
        )
        return Patch(before, found.after, found.manual)

    def _cures(self, attempt: Attempt) -> bool:
        """Whether a trial trains well: as the reference does, where that trains; a script with nothing but its
        mistakes repaired is its author's own recipe, and need not be as fast.
        """
        if self._measure is not None:
            share = self._measure.share(attempt.verdict.level)
            return attempt.verdict.good and share >= (HELD_BACK if _is_repair(attempt) else MARGIN)
        if _is_repair(attempt) or self.plan.only:
            return attempt.verdict.good
        return self._reference is None and _is_well(attempt)

    def _left(self) -> list[Attempt]:
        """What is offered where nothing came as far as the reference: the reference itself; where that does not
        train, whatever comes half of the way that there is, by rank.
        """
        if self._measure is not None and self._reference is not None:
            return [self._reference]
        ranked = by_rank(self._attempts, None)
        return ranked if self.plan.only else [attempt for attempt in ranked if _is_well(attempt)]

    # --- the proof -------------------------------------------------------------------------------------

    def _prove(self, tried: Attempt, case: Case, *, checked: bool = False) -> Proved | None:
        """The patch, if the patched script works with every seed, over its own length with one of them, and a
        check finds no error in it. checked: that is known already.
        """
        candidate = tried.candidate
        assert candidate is not None
        patch = self._written(candidate, case)
        source = None if patch.manual else patch.after
        known = checked or source is None or bool(self.plan.only)
        if source is not None and not known and self._is_wrong(tried, source):
            return None
        proof: list[Attempt] = []
        # The first seed has been tried on the live training, unless there is no other.
        # One trial is made to its end: what is clear early may still come to grief later.
        # A mistake that was seen and is seen no more needs no third seed to tell it from luck.
        first = 1 if self.plan.seeds > 1 else 0
        last = min(self.plan.seeds, first + 1) if _is_repair(tried) else self.plan.seeds
        for seed in range(first, last):
            whole = seed == first or candidate.training is not None
            enough = None if whole else self._level(self._least(tried))
            proof.append(self.trials.one(candidate, seed, source, enough=enough, whole=whole))
            if not self._holds(proof[-1]):
                self._attempts.extend(proof)
                return None
        results = [tried.result, *(attempt.result for attempt in proof)]
        against = objection(results, self.trials.start(candidate))
        if against is not None:
            self._attempts.extend([*proof[:-1], _refused(proof[-1], against)])
            return None
        return candidate, patch, tuple(proof)

    def _is_wrong(self, tried: Attempt, source: str) -> bool:
        """Whether a check still finds an error in the patched script; it is told as an attempt that failed."""
        result = self.trials.check(source)
        if result.end != "finished" or not result.unhealthy:
            return False
        verdict = replace(
            tried.verdict, healthy=False, why=f"it learns, but a check finds {result.unhealthy[0]}"
        )
        self._attempts.append(replace(tried, patched=True, verdict=verdict))
        self.listener.tried(self._attempts[-1])
        return True

    def _holds(self, attempt: Attempt) -> bool:
        if not attempt.verdict.good:
            return False
        return attempt.verdict.level <= self._level(self._least(attempt))

    @staticmethod
    def _least(attempt: Attempt) -> float:
        return HELD_BACK if _is_repair(attempt) else PROVED

    def _level(self, share: float) -> float:
        """The loss that is so far on the way to the reference's; infinite where there is none."""
        return math.inf if self._measure is None else self._measure.level(share)

    def _ended(self, found: Fixing, proved: Proved | None, well: bool) -> Fixing:
        found = replace(found, attempts=tuple(self._attempts), reference=self._reference)
        if proved is not None:
            candidate, patch, proof = proved
            return replace(found, status="fixed", chosen=candidate, patch=patch, proof=proof)
        untried = [a.result.message for a in self._attempts if a.result.end == "internal"]
        if untried and not well:
            found = replace(found, status="internal_error", message=untried[0])
        return found

    def _internal(self, message: str, **known: Any) -> Fixing:
        """A fault of our own has kept us from finding out."""
        return Fixing(self.plan, "internal_error", message=message, **known)


def _upon(base: Candidate | None, candidate: Candidate) -> Candidate:
    """A remedy on top of a repaired script."""
    if base is None:
        return candidate
    return replace(
        candidate,
        remedy=f"{base.remedy} + {candidate.remedy}",
        invasiveness=base.invasiveness + candidate.invasiveness,
        reason=joined(msg("; "), (base.reason, candidate.reason)),
        source=base.source,
    )


def _longest(proof: Sequence[Attempt]) -> Attempt:
    return max(proof, key=lambda attempt: len(attempt.result.losses))


def _is_well(attempt: Attempt) -> bool:
    """Whether it learns, and has more than half of the way behind it: from the constant answer to 0 where both
    are known, else from where it began.
    """
    result = attempt.result
    if result.baseline is not None and result.floor is not None:
        return is_plain_success(attempt)
    first = float(np.mean(result.losses[:_FIRST])) if result.losses else math.nan
    alone = result.optimizers == 1 and first > 0
    return attempt.verdict.good and not (alone and attempt.verdict.level > HELD_BACK * first)


def _is_repair(attempt: Attempt) -> bool:
    """Whether mistakes were repaired and nothing else was done."""
    names = {repair.name for repair in repairs.all_repairs()}
    return attempt.candidate is not None and names >= {*attempt.candidate.remedy.split(" + ")}


def _is_as_sick(attempt: Attempt, fact: Fact, before: Sight) -> bool:
    """Whether all that was wrong with a training still is, where the mistake was seen by the check alone."""
    told = any(one.kind == fact.kind for one in before.told)
    wrong = before.attempt.result.unhealthy
    return not told and bool(wrong) and attempt.result.unhealthy == wrong


def _is_without(attempt: Attempt, fact: Fact, plan: FixPlan, trials: Trials) -> bool:
    """Whether a repaired script runs, and does not make that mistake."""
    if attempt.result.end in ("failed", "unseen", "internal", "refused"):
        return False
    after = look(plan, attempt, trials.folder, probed=False)
    return all(_what(other) != _what(fact) for other in after.mistakes)


def _what(fact: Fact) -> tuple[object, ...]:
    """A mistake, wherever its line has moved to."""
    return fact.kind, *(fact.values.get(word) for word in ("operation", "operand", "direction"))


def _refused(attempt: Attempt, against: str) -> Attempt:
    """An attempt that is good by itself, and not together with those of the other seeds."""
    return replace(attempt, verdict=replace(attempt.verdict, learning=False, why=against))
