"""What is seen of a training before its first step and in a trial: findings, and the facts behind them."""

from __future__ import annotations

import math
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

from evengrad.diagnosis.catalogue import all_fact_rules
from evengrad.diagnosis.diagnose import diagnose_probe, diagnose_run, fold, upstream
from evengrad.errors import EvengradError, InternalError
from evengrad.fixing.case import Case
from evengrad.fixing.later import beside, trainings
from evengrad.fixing.outcome import Attempt, FixPlan
from evengrad.recording.reader import load
from evengrad.values.fact import Fact
from evengrad.values.finding import Cause, Finding, Severity, Symptom, with_echoes
from evengrad.values.probe import Probe
from evengrad.values.run import Run
from evengrad.verbs.births import Script, add_birth
from evengrad.verbs.check_script import ScriptExitedError, ScriptFailedError, probe_trainings
from evengrad.verbs.inquire import Beginnings
from evengrad.verbs.run_script import Outcome as Finished

_HIDDEN = (Cause.LOSS_HEAD, Cause.INPUT_DATA, Cause.INITIALISATION)
"""Causes that hold a training back without a trace in its losses."""
_MOST = 0.5
"""A share of the weights that is most of them."""
_RAW = 10.0
"""Of inputs that are raw, their root mean square: the bound of EG806."""
_RAW_TARGETS = 100.0
"""Of targets, the largest: so far an output that begins near 0 has to go (a choice)."""
_STARTING = 15.0
"""Seconds that a script may take to its first step."""
_SHORT = 60.0
"""Seconds: a trial that took no longer is looked at from its first step on, for in a trial some examples are
withheld, so that the script itself may go wrong earlier."""


@dataclass(frozen=True)
class Sight:
    """What is known of a training.

    Attributes:
        attempt: a trial of it.
        probe: before its first step; None where it could not be taken.
        run: of the trial.
        later: at the first steps of the script's other trainings, as far as they were come to.
        beside: the runs of the trial's other trainings with mistakes in them.
    """

    attempt: Attempt
    probe: Probe | None
    run: Run | None
    later: tuple[Probe, ...] = ()
    beside: tuple[Run, ...] = ()

    @property
    def _probes(self) -> tuple[Probe, ...]:
        return self.later if self.probe is None else (self.probe, *self.later)

    @property
    def told(self) -> tuple[Fact, ...]:
        """The facts of the runs."""
        runs = (*(() if self.run is None else (self.run,)), *self.beside)
        return tuple(fact for run in runs for fact in run.facts)

    @cached_property
    def mistakes(self) -> tuple[Fact, ...]:
        """The facts behind findings, in their order, mistakes first; each kind once at a line."""
        codes = [f.code for f in with_echoes(self.findings)]
        kinds = {rule.fact: rule.code for rule in all_fact_rules() if rule.code in codes}
        seen = [fact for probe in self._probes for fact in probe.facts]
        seen += self.told
        if any(fact.kind == "losses_crossed" for fact in seen):
            kinds.pop(
                "weights_unreached", None
            )  # by the loss of another, from which it may well be cut
        once = {(fact.kind, fact.where): fact for fact in seen if fact.kind in kinds}
        return tuple(sorted(once.values(), key=lambda fact: codes.index(kinds[fact.kind])))

    @property
    def concluded(self) -> Iterator[Fact]:
        """What no adapter has told, and a repair may cure."""
        still = any(f.symptom is Symptom.STANDING_STILL for f in with_echoes(self.findings))
        if self.run is not None and still and (self.run.seen.get("frozen") or 0.0) > _MOST:
            yield Fact("weights_frozen")
        if still:
            yield Fact("labels_apart")
        flat = self.probe is None or not self.probe.inputs
        if flat and not self.attempt.verdict.good:
            yield Fact("curve_flat")
        if self.probe is not None:
            yield from _raw(self.probe)

    @cached_property
    def errors(self) -> tuple[Finding, ...]:
        """What a check calls an error."""
        found = [finding for probe in self._probes for finding in diagnose_probe(probe)]
        return tuple(f for f in found if f.severity is Severity.ERROR)

    @cached_property
    def faults(self) -> tuple[Finding, ...]:
        """What is wrong whatever the losses say: a training may learn in spite of it."""
        found = () if self.probe is None else diagnose_probe(self.probe)
        return upstream(f for f in found if f.cause in _HIDDEN)

    @cached_property
    def findings(self) -> tuple[Finding, ...]:
        """Of the check, and of the run, in the order in which they are to be fixed; mistakes first."""
        verdict = self.attempt.verdict
        still = verdict.healthy and not verdict.learning
        found = [] if self.probe is None else list(diagnose_probe(self.probe, still=still))
        known = {f.code for f in found if f.mistake}
        for probe in self.later:
            found += [f for f in diagnose_probe(probe) if f.mistake and f.code not in known]
            known |= {f.code for f in found if f.mistake}
        if self.run is not None:
            found += [f for f in diagnose_run(self.run) if f.code not in known]
            known |= {f.code for f in found if f.mistake}
        for run in self.beside:
            found += [f for f in diagnose_run(run) if f.mistake and f.code not in known]
            known |= {f.code for f in found if f.mistake}
        ordered = upstream(fold(found))
        return tuple(sorted(ordered, key=lambda f: not f.mistake))

    def case(self, plan: FixPlan) -> Case:
        """For the remedies."""
        return Case(self.probe, self.findings, self.attempt.result, plan.steps, plan.pretrained)


def _raw(probe: Probe) -> Iterator[Fact]:
    """Numbers of a regression that are far from 1; where the targets are, no remedy in the network will do."""
    loss, inputs = probe.loss, probe.inputs
    if loss.family != "regression" or loss.targets is None or len(inputs) != 1:
        return
    largest = max(abs(loss.targets.min), abs(loss.targets.max))
    raw = inputs[0].value.rms > _RAW or largest > _RAW_TARGETS
    if math.isfinite(largest) and raw and inputs[0].port is not None:
        columns = len(inputs[0].value.shape) == 2 and inputs[0].value.shape[1] > 1
        yield Fact("raw_data", values={"columns": columns})


def look(plan: FixPlan, attempt: Attempt, folder: Path, *, probed: bool = True) -> Sight:
    """See a training, as it is or as it was repaired in a trial.

    Args:
        plan: what to fix.
        attempt: a trial of it.
        folder: of the trials.
        probed: whether to take a probe, which takes as long as the script to its first step.

    Returns:
        What is seen.

    Raises:
        InternalError: the fault is ours.
    """
    source = None if attempt.candidate is None else attempt.candidate.source
    run = _run(plan, attempt, source)
    probes = _probes(plan, folder, source) if probed else ()
    others = trainings(beside(Path(attempt.result.run))) if attempt.result.run else []
    mistaken = tuple(one for one in others if one.facts and run and one.path != run.path)
    return Sight(attempt, probes[0] if probes else None, run, probes[1:], mistaken)


def _run(plan: FixPlan, attempt: Attempt, source: str | None) -> Run | None:
    """The run of a trial; where something in it was not finite, with where that was born."""
    if attempt.result.run is None:
        return None
    path = Path(attempt.result.run)
    run = load(path)
    begun = replace(Beginnings(), time=run.started - _STARTING)
    script = Script(
        plan.target,
        plan.arguments,
        plan.module,
        begun,
        source=source,
        function=plan.function,
        throughout=attempt.result.seconds < _SHORT,
    )
    return run if add_birth(Finished((path,), 1), script) is None else load(path)


def _probes(plan: FixPlan, folder: Path, source: str | None) -> tuple[Probe, ...]:
    """Before each training, in this process; what the script prints goes into a file."""
    try:
        with _printing_into(folder / "check.txt"):
            found = probe_trainings(
                plan.target,
                plan.arguments,
                module=plan.module,
                function=plan.function,
                source=source,
            )
            return found.probes
    except InternalError:
        raise
    except (EvengradError, ScriptFailedError, ScriptExitedError):
        return ()  # what the trials show must do


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
