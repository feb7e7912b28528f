"""Finds the change that makes a sick training healthy: runs it, tries remedies, writes the patch, proves it."""

from __future__ import annotations

import hashlib
import importlib.util
import itertools
import os
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import Executor, Future
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Literal, Protocol

from evengrad.change import Change, in_order
from evengrad.diagnose import diagnose, fold, judge_run
from evengrad.errors import EvengradError, ScriptError
from evengrad.finding import Cause, Finding
from evengrad.fixing import Attempt, Fixing, Plan
from evengrad.learning import judge, together
from evengrad.patch import Patch, write
from evengrad.performing import execute
from evengrad.probe import Probe
from evengrad.remedies import candidates
from evengrad.remedy import Candidate, Case
from evengrad.script import ScriptExitedError, ScriptFailedError, probe_script
from evengrad.store import load
from evengrad.trial import Result, Trial

_FOLLOWING = 3
"""Remedies that are tried on top of one that was not enough."""
_PAIRS = 3
"""Pairs of first choices that are tried before second choices."""


class Listener(Protocol):
    """Who wants to see it going on."""

    def trying(self, candidate: Candidate | None, seed: int, patched: bool) -> None: ...
    def tried(self, attempt: Attempt) -> None: ...
    def found(self, findings: Sequence[Finding]) -> None: ...


def fix(plan: Plan, executor: Executor, listener: Listener) -> Fixing:
    """Fix a script. It is not changed. Raises ScriptError where there is none to run."""
    return _Fix(plan, executor, listener).run()


class _Fix:
    def __init__(self, plan: Plan, executor: Executor, listener: Listener) -> None:
        self.plan, self.listener, self._executor = plan, listener, executor
        self.source = _source(plan)
        facts = f"{plan.target}\0{plan.arguments}\0{self.source}"
        name = Path(plan.target).stem.rpartition(".")[2] or "script"
        self._folder = plan.folder / f"{name}-{hashlib.sha256(facts.encode()).hexdigest()[:8]}"
        self._attempts: list[Attempt] = []

    def run(self) -> Fixing:
        """From the script as it is to the proof."""
        plain = [self._try(None, 0)]
        first = plain[0]
        if first.result.end in ("failed", "unseen"):
            return Fixing(self.plan, "cannot_run", plain=(first,), message=first.result.message)
        if first.verdict.good:
            for seed in range(1, self.plan.seeds):
                plain.append(self._try(None, seed))
            if all(a.verdict.good for a in plain) and not together([a.result for a in plain]):
                return Fixing(self.plan, "healthy", plain=tuple(plain))
        probe = self._probe()
        worst = next((a for a in plain if not a.verdict.good), first)
        findings = _findings(probe, worst.result)
        self.listener.found(findings)
        case = Case(probe, findings, worst.result, self.plan.steps, self.plan.pretrained)
        found = Fixing(self.plan, "not_fixed", findings, tuple(plain))
        for attempt in self._promising(case):
            assert attempt.candidate is not None
            candidate, proved = attempt.candidate, self._prove(attempt, case)
            if proved is not None:
                return replace(
                    found,
                    status="fixed",
                    attempts=tuple(self._attempts),
                    chosen=candidate,
                    patch=proved[0],
                    proof=proved[1],
                )
        return replace(found, attempts=tuple(self._attempts))

    def _promising(self, case: Case) -> Iterator[Attempt]:
        """Those that work with the first seed: one remedy at a time; where one has removed the most important
        cause and another is left, both together at once; then two together; then second choices.
        """
        single = candidates(case, self.plan.only)
        first = [candidate for candidate in single if candidate.alternative == 0]
        paired, others = _pairs(first, case), (c for c in single if c.alternative > 0)
        rest = itertools.chain(itertools.islice(paired, _PAIRS), others, paired)
        waiting = list(first)
        tried: set[tuple[Change, ...]] = set()
        left = self.plan.budget
        while left > 0:
            waiting += itertools.islice(rest, 0 if waiting else 1)
            chosen = [c for c in waiting if c.changes not in tried][: min(self.plan.jobs, left)]
            if not chosen:
                return
            left -= len(chosen)
            tried |= {candidate.changes for candidate in chosen}
            waiting = [c for c in waiting if c.changes not in tried]
            for attempt in self._try_all(chosen):
                self._attempts.append(attempt)
                if attempt.verdict.good:
                    yield attempt
                waiting = [*self._next(attempt, case), *waiting]

    def _next(self, attempt: Attempt, case: Case) -> list[Candidate]:
        """What to add to an attempt that removed the most important cause, but not all."""
        before, result = attempt.candidate, attempt.result
        if before is None or before.cause is not next(iter(case.causes), None) or not result.run:
            return []
        findings = judge_run(load(Path(result.run)))
        probe = None if case.probe is None else replace(case.probe, rate=None)  # of other weights
        after = Case(probe, findings, result, case.steps, case.pretrained)
        if before.cause in after.causes:
            return []
        more = (
            c
            for c in candidates(after, self.plan.only)
            if c.remedy not in before.remedy and c.alternative == 0
        )
        return [_both(before, other) for other in itertools.islice(more, _FOLLOWING)]

    def _prove(self, tried: Attempt, case: Case) -> tuple[Patch, tuple[Attempt, ...]] | None:
        """The patch, if the patched script works with every seed."""
        candidate = tried.candidate
        assert candidate is not None
        frontend = _frontend(case)
        patch = write(self.source, candidate.changes, frontend, self.plan.target)
        source = None if patch.manual else patch.after
        proof: list[Attempt] = []
        # The first seed has been tried on the live training, unless there is no other.
        for seed in range(1 if self.plan.seeds > 1 else 0, self.plan.seeds):
            proof.append(self._try(candidate, seed, source))
            if not proof[-1].verdict.good:
                self._attempts.extend(proof)
                return None
        against = together([tried.result, *(attempt.result for attempt in proof)])
        if against is not None:
            last = proof[-1]
            verdict = replace(last.verdict, learning=False, why=against)
            self._attempts.extend([*proof[:-1], replace(last, verdict=verdict)])
            return None
        return patch, tuple(proof)

    # --- trials --------------------------------------------------------------------------------------

    def _try(self, candidate: Candidate | None, seed: int, source: str | None = None) -> Attempt:
        self.listener.trying(candidate, seed, source is not None)
        result = self._submit(candidate, seed, source).result()
        return self._done(candidate, seed, source, result)

    def _try_all(self, chosen: Sequence[Candidate]) -> Iterator[Attempt]:
        """Side by side; in order."""
        waiting = []
        for candidate in chosen:
            self.listener.trying(candidate, 0, False)
            waiting.append((candidate, self._submit(candidate, 0, None)))
        for candidate, future in waiting:
            yield self._done(candidate, 0, None, future.result())

    def _submit(self, candidate: Candidate | None, seed: int, source: str | None) -> Future[Result]:
        plan = self.plan
        live = candidate is not None and source is None
        changes = candidate.changes if candidate is not None and live else ()
        trial = Trial(plan.target, plan.arguments, plan.module, changes, seed, plan.steps, source)
        return self._executor.submit(execute, trial, self._folder / trial.key(self.source))

    def _done(
        self, candidate: Candidate | None, seed: int, source: str | None, result: Result
    ) -> Attempt:
        attempt = Attempt(candidate, seed, source is not None, result, judge(result))
        self.listener.tried(attempt)
        return attempt

    def _probe(self) -> Probe | None:
        """Before the first step, in this process; what the script prints goes into a file."""
        plan = self.plan
        try:
            with _printing_into(self._folder / "check.txt"):
                return probe_script(plan.target, plan.arguments, module=plan.module)
        except (EvengradError, ScriptFailedError, ScriptExitedError):
            return None


@contextmanager
def _printing_into(file: Path) -> Iterator[None]:
    """Standard output and error of this process, also of what is not Python's."""
    file.parent.mkdir(parents=True, exist_ok=True)
    sys.stdout.flush()
    sys.stderr.flush()
    kept = os.dup(1), os.dup(2)
    with file.open("w") as output:
        os.dup2(output.fileno(), 1)
        os.dup2(output.fileno(), 2)
        try:
            yield
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            for number, one in enumerate(kept, start=1):
                os.dup2(one, number)
                os.close(one)


def _findings(probe: Probe | None, result: Result) -> tuple[Finding, ...]:
    """Of the check, and of the run."""
    found = [] if probe is None else list(diagnose(probe).findings)
    if result.run is not None:
        found += judge_run(load(Path(result.run)))
    return fold(found)


def _frontend(case: Case) -> Literal["keras", "torch"]:
    """Whose vocabulary the script uses."""
    if case.probe is not None:
        return case.probe.frontend
    run = None if case.result.run is None else load(Path(case.result.run))
    return "keras" if run is not None and run.subject.frontend == "keras" else "torch"


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


def _source(plan: Plan) -> str:
    file: str | None = plan.target
    if plan.module:
        spec = importlib.util.find_spec(plan.target)
        file = None if spec is None else spec.origin
    try:
        with open(file or plan.target, newline="", encoding="utf-8") as script:
            return script.read()
    except (OSError, UnicodeDecodeError) as error:
        raise ScriptError(f"Cannot read {plan.target!r}: {error}.") from None
