"""The trials of one fix, through an executor; each result is kept in a folder and taken from there again."""

from __future__ import annotations

import hashlib
import importlib.util
import math
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import Executor, Future
from dataclasses import replace
from pathlib import Path
from typing import Protocol

from evengrad.errors import ScriptError
from evengrad.fixing.case import Candidate
from evengrad.fixing.outcome import Attempt, FixPlan
from evengrad.fixing.processes import execute
from evengrad.fixing.trial import Result, Trial
from evengrad.fixing.verdict import is_better, judge
from evengrad.values.finding import Finding
from evengrad.values.message import msg

_BY_EPSILON = 1e4
"""A loss of unknown unit that is larger, behind an epsilon of 1e-8, is the root of that epsilon's inverse."""
_ENDLESS = 10**9
"""More updates than any script makes."""


class FixListener(Protocol):
    """Who wants to see it going on."""

    def trying(self, candidate: Candidate | None, seed: int, patched: bool) -> None: ...
    def tried(self, attempt: Attempt) -> None: ...
    def found(self, findings: Sequence[Finding]) -> None: ...


class Silent:
    """A listener that says nothing."""

    def trying(self, candidate: Candidate | None, seed: int, patched: bool) -> None: ...
    def tried(self, attempt: Attempt) -> None: ...
    def found(self, findings: Sequence[Finding]) -> None: ...


class Trials:
    """What is run for a plan.

    Args:
        plan: what to fix and at what cost.
        executor: performs the trials.
        listener: told of each trial.

    Attributes:
        source: the script as it is.
        folder: of this script with these arguments.
        to_beat: results by seed that a changed training must beat, where it learns as it is.

    Raises:
        ScriptError: there is no script to read.
    """

    def __init__(self, plan: FixPlan, executor: Executor, listener: FixListener) -> None:
        self.source = _source(plan)
        facts = f"{plan.target}\0{plan.arguments}\0{plan.function}\0{self.source}"
        name = Path(plan.target).stem.rpartition(".")[2] or "script"
        self.folder = plan.folder / f"{name}-{hashlib.sha256(facts.encode()).hexdigest()[:8]}"
        self.to_beat: dict[int, Result] = {}
        self._plain: Result | None = None
        self._plan, self._executor, self._listener = plan, executor, listener

    def one(
        self,
        candidate: Candidate | None,
        seed: int,
        source: str | None = None,
        *,
        enough: float | None = None,
        whole: bool = False,
        without: str = "",
    ) -> Attempt:
        """One trial: of the script as it is, with a change, or of a patched source with nothing changed.

        Args:
            candidate: the change; None for the script as it is.
            seed: added to the script's own.
            source: the patched script.
            enough: it may end before, once it clearly learns and its loss is clearly below this.
            whole: over the script's own length, as far as the plan's patience goes.
            without: a kind of mistake with which it need not go on.
        """
        self._listener.trying(candidate, seed, source is not None)
        trial = replace(self._trial(candidate, seed, source, enough, whole), without=without)
        return self._done(candidate, seed, source, self._submit(trial).result())

    def check(self, source: str) -> Result:
        """What a check finds in a patched script, in a process of its own: its errors are what is unhealthy."""
        plan = self._plan
        return self._submit(
            Trial(
                plan.target,
                arguments=plan.arguments,
                module=plan.module,
                source=source,
                function=plan.function,
                check=True,
            )
        ).result()

    def side_by_side(self, chosen: Sequence[Candidate]) -> Iterator[Attempt]:
        """Live changes with the first seed, in order."""
        waiting = []
        for candidate in chosen:
            self._listener.trying(candidate, 0, False)
            trial = self._trial(candidate, 0, None, None, False)
            trial = replace(trial, hopeless=not _is_scheduled(candidate) and not self.to_beat)
            waiting.append((candidate, self._submit(trial)))
        for candidate, future in waiting:
            yield self._done(candidate, 0, None, future.result())

    def start(self, candidate: Candidate | None) -> Result | None:
        """Whose first losses a trial must get below, if not its own: weights that were trained begin low."""
        changes = () if candidate is None else candidate.changes
        return self._plain if any(c.trained for c in changes) else None

    def _trial(
        self,
        candidate: Candidate | None,
        seed: int,
        source: str | None,
        enough: float | None,
        whole: bool,
    ) -> Trial:
        plan = self._plan
        changes = () if candidate is None else candidate.changes
        repaired = None if candidate is None else candidate.source
        return Trial(
            plan.target,
            arguments=plan.arguments,
            module=plan.module,
            changes=changes if source is None else (),
            seed=seed,
            steps=_ENDLESS if whole else plan.steps,
            source=source or repaired,
            enough=None if _is_scheduled(candidate) or self.to_beat else enough,
            function=plan.function,
            seconds=plan.patience if whole else None,
            training=None if candidate is None else candidate.training,
        )

    def _submit(self, trial: Trial) -> Future[Result]:
        folder = (self.folder / trial.key(self.source)).resolve()
        return self._executor.submit(execute, trial, folder, os.getcwd())

    def _done(
        self, candidate: Candidate | None, seed: int, source: str | None, result: Result
    ) -> Attempt:
        if candidate is None:
            self._plain = self._plain or result
        repaired = candidate is not None and candidate.source is not None and not candidate.changes
        repaired = repaired and self._plain is not None and _is_lost(self._plain)
        verdict = judge(result, self.start(candidate), repaired=repaired)
        than = self.to_beat.get(seed)
        if verdict.good and result.baseline is None and _is_held(candidate, verdict.level):
            words = msg(
                "its loss ends at {level:.4g}: so large an epsilon makes it", level=verdict.level
            )
            verdict = replace(verdict, learning=False, why=words)
        if verdict.good and than is not None and not is_better(result, than):
            words = msg(
                "its loss {level:.4g} is not below {other:.4g}, as it is",
                level=verdict.level,
                other=judge(than).level,
            )
            verdict = replace(verdict, learning=False, why=words)
        attempt = Attempt(candidate, seed, source is not None, result, verdict)
        self._listener.tried(attempt)
        return attempt


def _is_lost(result: Result) -> bool:
    """Whether it was not finite."""
    return result.end == "stopped" or not all(map(math.isfinite, result.losses))


def _is_held(candidate: Candidate | None, level: float) -> bool:
    """Whether a loss is what an epsilon in its divisor or logarithm makes it, and no cure."""
    return candidate is not None and "born" in candidate.remedy.split(" + ") and level > _BY_EPSILON


def _is_scheduled(candidate: Candidate | None) -> bool:
    """Whether its effect depends on how many steps there are."""
    return candidate is not None and any(change.scheduled for change in candidate.changes)


def home(folder: Path, target: str) -> Path:
    """Where the trials of a script lie, in the folder that has the runs."""
    return folder / f"fix-{Path(target).stem.rpartition('.')[2] or 'script'}"


def _source(plan: FixPlan) -> str:
    file: str | None = plan.target
    if plan.module:
        spec = importlib.util.find_spec(plan.target)
        file = None if spec is None else spec.origin
    try:
        with open(file or plan.target, newline="", encoding="utf-8") as script:
            return script.read()
    except (OSError, UnicodeDecodeError) as error:
        raise ScriptError(
            msg("Cannot read {target!r}: {error}.", target=plan.target, error=error)
        ) from None
