"""What is to be fixed, and what came of it, as values."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from evengrad.fixing.case import Candidate
from evengrad.fixing.trial import Result
from evengrad.fixing.verdict import Verdict
from evengrad.values.display import Displayed, Headline, finding_lines
from evengrad.values.finding import Finding
from evengrad.values.message import joined, msg

if TYPE_CHECKING:
    from evengrad.fixing.patch import Patch

FixStatus = Literal["healthy", "fixed", "not_fixed", "cannot_run", "internal_error"]
"""internal_error: evengrad itself failed, so that nothing is known of the training."""


@dataclass(frozen=True, slots=True)
class FixPlan:
    """What to fix and at what cost.

    Attributes:
        target: a script's path, or a module's dotted name.
        arguments: the script's ``sys.argv[1:]``.
        module: whether the target is a module.
        steps: updates of a trial.
        seeds: a remedy must work with each.
        budget: trials of remedies at most.
        jobs: trials side by side.
        only: names of remedies, all by default.
        pretrained: a file of weights to try.
        patience: seconds of training after which a run over the script's own length is cut off.
        reference: whether the standard recipe is run beside the remedies, to say what "well" is.
        folder: where trials are kept; the next call takes up from there.
        function: of the target, called without arguments, where the target alone does not train.
    """

    target: str
    arguments: tuple[str, ...] = ()
    module: bool = False
    steps: int = 200
    seeds: int = 3
    budget: int = 8
    jobs: int = 1
    only: tuple[str, ...] = ()
    pretrained: str | None = None
    patience: float = 60.0
    reference: bool = True
    folder: Path = Path("runs/fix")
    function: str | None = None


@dataclass(frozen=True, slots=True)
class Attempt:
    """One trial with what came of it.

    Attributes:
        candidate: the remedy; None for the script as it is.
        seed: added to every seed that the script sets.
        patched: whether the patched script was run, nothing else being changed.
        result: its losses, norms and findings.
        verdict: whether it is healthy and learns.
    """

    candidate: Candidate | None
    seed: int
    patched: bool
    result: Result
    verdict: Verdict


@dataclass(frozen=True, repr=False)
class Fixing(Displayed):
    """What was found and done.

    Attributes:
        plan: what was asked for.
        status: "healthy" (as it is), "fixed", "not_fixed", "cannot_run" or "internal_error".
        findings: of the script as it is, before training and in it.
        plain: trials of the script as it is.
        attempts: trials of remedies, in the order in which they were tried.
        chosen: the remedy that works; None where none does.
        patch: how to write it into the script.
        proof: trials of the patched script (of the live change where ``patch.manual`` is not empty).
        message: why there is no more than this.
        reference: a trial of the recipe that is known to train, which says what "well" is; None where it was
            not needed, or nothing is known of the network.
    """

    plan: FixPlan
    status: FixStatus
    findings: tuple[Finding, ...] = ()
    plain: tuple[Attempt, ...] = ()
    attempts: tuple[Attempt, ...] = ()
    chosen: Candidate | None = None
    patch: Patch | None = None
    proof: tuple[Attempt, ...] = ()
    message: str = ""
    reference: Attempt | None = None

    def headline(self) -> Headline:
        """In a few lines."""
        status = self.status.replace("_", " ")
        by = (
            ""
            if self.chosen is None
            else msg(" by {remedy}: {reason}", remedy=self.chosen.remedy, reason=self.chosen.reason)
        )
        title = msg(
            "Fixing of {target}: {status}{by}{message}",
            target=self.plan.target,
            status=status,
            by=by,
            message=joined(": ", ("", self.message)) if self.message else "",
        )
        return Headline(title, finding_lines(self.findings))

    @property
    def diff(self) -> str:
        """The patch as a unified diff of the script; empty where there is none."""
        return "" if self.patch is None else self.patch.diff(self.plan.target)

    @property
    def closest(self) -> Attempt | None:
        """Of the attempts that failed, the healthy one with the lowest loss."""
        tried = [a for a in self.attempts if math.isfinite(a.verdict.level)]
        return min(tried, key=lambda a: (not a.verdict.healthy, a.verdict.level), default=None)

    @property
    def notes(self) -> tuple[str, ...]:
        """What the chosen change did in its trial."""
        return next((a.result.notes for a in self.attempts if a.candidate is self.chosen), ())

    @property
    def cost(self) -> float:
        """Updates that all trials made, in plain short runs."""
        made = [*self.plain, *self.attempts, *self.proof]
        return sum(len(a.result.losses) for a in made) / self.plan.steps
