"""The process of a trial: ``python -m evengrad.fixing.worker FOLDER`` reads trial.json there and leaves
result.json beside the run.
"""

from __future__ import annotations

import json
import math
import random
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import astuple, replace
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

from evengrad.diagnosis.catalogue import all_fact_rules
from evengrad.diagnosis.causes import shares
from evengrad.diagnosis.diagnose import diagnose_probe, diagnose_run
from evengrad.diagnosis.learning import baseline as constant_baseline
from evengrad.errors import CannotChangeError, EvengradError
from evengrad.fixing import verdict as learning
from evengrad.fixing.later import trainings
from evengrad.fixing.trial import End, Result, Trial, held_out
from evengrad.fixing.warm import ImportNotes
from evengrad.recording import failure
from evengrad.recording.baseline import Baseline
from evengrad.recording.reader import load
from evengrad.recording.settings import Settings
from evengrad.values.fact import Fact
from evengrad.values.finding import Finding, Severity, with_echoes
from evengrad.values.message import joined
from evengrad.values.probe import Probe
from evengrad.values.run import Detail, Event, EventKind, Run, RunStatus, Step, Subject
from evengrad.verbs.check_script import ScriptExitedError, ScriptFailedError, probe_trainings
from evengrad.verbs.children import end_with_parent
from evengrad.verbs.run_script import Outcome, TrialOverError, run_script

_EVERY = 10
_WITHHELD = 10
"""One example in so many is kept out of the loss, to judge by."""
_SHARED = 3
"""Times the patience, after which a training is cut off even where it hardly works: it waits for something."""
_SETTLED = 40
"""Steps that are made behind a mistake with which no training works: others may come to light."""
_TOLD_APART = 10
"""Losses by which two optimizers' are told apart."""
_NEVER_NEGATIVE = {"crossentropy", "binary_crossentropy", "mse"}
"""Loss functions that are at least 0, whatever the network says, where their targets are in range."""


def perform(trial: Trial, folder: Path) -> Result:
    """Perform it in this process, which must have imported no framework yet."""
    if trial.check:
        return _checked(trial)
    session = _TrialRun(trial)
    settings = Settings(every=_EVERY, folder=folder / "runs")
    if trial.measured:
        settings = replace(settings, guard=None)
    for change in trial.changes:
        settings = replace(settings, **change.settings())
    start = time.monotonic()
    with _seeded(trial.seed):
        outcome = run_script(
            trial.target,
            trial.arguments,
            module=trial.module,
            settings=settings,
            listener=session,
            trial=session,
            source=trial.source,
            function=trial.function,
        )
    if isinstance(outcome.error, KeyboardInterrupt):
        raise outcome.error
    found = session.result(outcome)
    return replace(found, seconds=time.monotonic() - start)


def _checked(trial: Trial) -> Result:
    """The errors that a check of the script finds before each of its trainings."""
    try:
        with _seeded(trial.seed):
            measured = probe_trainings(
                trial.target,
                trial.arguments,
                module=trial.module,
                function=trial.function,
                source=trial.source,
            )
    except (ScriptFailedError, ScriptExitedError) as error:
        return Result("failed", message=str(error))
    every = [finding for probe in measured.probes for finding in diagnose_probe(probe)]
    found = [f for f in every if f.severity is Severity.ERROR]
    return Result("finished", unhealthy=tuple(joined(" ", (f.code, f.title)) for f in found))


class _TrialRun:
    """What the adapters report to (adapters.TrialSession), and the watch (watching.Listener)."""

    def __init__(self, trial: Trial) -> None:
        self.changes = tuple(change for change in trial.changes if not change.settings())
        self.seed = trial.seed
        self.withheld = 0 if trial.whole or trial.onward else _WITHHELD
        self.measured = trial.measured
        self._trial = trial
        self._steps = 0
        self._losses: list[float] = []
        self._clear = False
        self._held: list[float] = []
        self._of_this_step: list[tuple[float, int]] = []
        self._epoch: int | None = None
        self._notes: list[str] = []
        self._baseline = Baseline()
        self._kinds: set[str] = set()
        self._begun: tuple[float, float] | None = None
        self._first: tuple[float, float] | None = None
        self._spent = False
        self._refused: CannotChangeError | None = None
        self._opening: Probe | None = None
        self._probe: Probe | None = None
        self._probing = False
        self._mistaken = False
        self._limit = trial.steps

    def started(self) -> None:
        self._begun = _now()

    def refuse(self, error: CannotChangeError) -> NoReturn:
        self._refused = error
        raise TrialOverError

    def note(self, text: str) -> None:
        self._notes.append(text)

    def targets(self, loss: str, values: Any, place: int = 0) -> None:
        self._kinds.add(loss)
        self._baseline.targets(loss, values, place)

    def backpropagated(self, loss: float, own: tuple[float, ...]) -> None:
        self._baseline.backpropagated(loss, own)

    def held_out(self, loss: float, examples: int) -> None:
        self._of_this_step.append((loss, examples))

    def epoch(self, steps: int) -> None:
        self._epoch = self._epoch or steps

    def stepped(self) -> bool:
        self._steps += 1
        if self._of_this_step:
            losses, counts = zip(*self._of_this_step, strict=True)
            self._held.append(float(np.average(losses, weights=counts)))
            self._of_this_step.clear()
        if (self._trial.enough is not None or self._trial.hopeless) and not self._clear:
            self._clear = self._is_clear()
        self._spent = self._spent or self._is_over()
        if self._trial.onward and self._probing:
            return False
        self._probing = self._clear or self._spent
        return self._probing

    def _is_over(self) -> bool:
        return self._is_late(self._begun) or self._mistaken or self._steps >= self._limit

    def _is_late(self, begun: tuple[float, float] | None) -> bool:
        """By the processor's time, too: on a shared machine a training is seen as far as on a free one."""
        limit = self._trial.seconds
        if limit is None or begun is None:
            return False
        passed, worked = (now - then for now, then in zip(_now(), begun, strict=True))
        return passed > limit and (worked > limit or passed > _SHARED * limit)

    def _is_clear(self) -> bool:
        """Whether the outcome is clear, asked at each tenth of the steps: from the first third on whether it
        learns, from the half on whether it does not at all.
        """
        steps = self._trial.steps
        if self._steps % max(steps // 10, 1) or self._steps * 3 < steps:
            return False
        held = held_out(self._losses, self._withheld(), self._epoch)
        enough, baseline = self._trial.enough, self._baseline.loss
        if enough is not None and learning.is_clear(self._losses, held, baseline, enough):
            return True
        return self._steps * 2 >= steps and learning.is_hopeless(self._losses)

    # --- as a listener of the watch -------------------------------------------------------------------

    def step(self, step: Step) -> None:
        self._losses.append(step.loss)
        if self._begun is None and not self._spent and self._loop_is_over():
            self.over()

    def _loop_is_over(self) -> bool:
        """Of a training that cannot be changed live, and so counts no steps: ended by its watch."""
        self._first = self._first or _now()
        self._spent = (
            self._is_late(self._first) or self._mistaken or len(self._losses) >= self._limit
        )
        return self._spent

    def begin(self, subject: Subject, path: Path | None) -> None: ...
    def detail(self, detail: Detail) -> None: ...

    def event(self, event: Event) -> None:
        """Look for the mistake that it was to be without, and for any that settles what is sick as it is."""
        if event.kind is not EventKind.FACT:
            return
        trial, kind = self._trial, event.values["kind"]
        found = _mistakes(Fact.from_values(event.values))
        if kind == trial.without:
            self._mistaken = self._mistaken or bool(found)
        elif not _goes_on(trial) and any(map(_is_wrong, found)):
            self._limit = min(self._limit, max(self._steps, len(self._losses)) + _SETTLED)

    def end(self, status: RunStatus) -> None: ...

    # --- the end ---------------------------------------------------------------------------------------

    def opened(self, probe: Probe) -> None:
        self._opening = probe

    def probed(self, probe: Probe) -> None:
        self._probe = probe

    def over(self) -> None:
        if not self._trial.onward:
            raise TrialOverError

    def result(self, outcome: Outcome) -> Result:
        """What came of it; the run with the most steps counts, or that of the training that was asked for."""
        runs = [run for path in outcome.runs if (run := _loaded(path)) is not None]
        run = max(runs, key=lambda run: len(run.steps["step"]), default=None)
        asked, later = self._trial.training, trainings([r.path for r in runs])
        if asked is not None:
            run = later[asked] if asked < len(later) else None
        end, message = self._end(outcome, run)
        if run is None:
            return Result(end, message=message)
        probed = () if self._probe is None else diagnose_probe(self._probe)
        trained = [one for one in runs if len(one.steps["step"]) > 1]  # a probe steps copies once
        found = [finding for one in trained or [run] for finding in diagnose_run(one)]
        findings = with_echoes([*found, *probed])
        wrong = [f for f in findings if f.unhealthy or _is_wrong(f)]
        if end == "finished":  # of a training that was cut off nothing is known of its end
            wrong += [f for f in found if f.severity is Severity.ERROR and f not in wrong]
        begins = _begins(run)
        losses = run.steps["loss"][begins : self._trial.steps]
        norms = run.steps["norm"][begins : self._trial.steps]
        return Result(
            end,
            tuple(map(float, losses)),
            tuple(map(float, norms)),
            withheld=self._withheld() if asked is None else (),
            epoch=self._epoch if asked is None else None,
            baseline=self._baseline.loss if asked is None else constant_baseline(run),
            floor=self._floor() if asked is None else None,
            symptoms=tuple(dict.fromkeys(f.symptom for f in findings if f.symptom)),
            unhealthy=tuple(f.title for f in wrong),
            profile_at_start=_profile(run, min),
            profile=_profile(run, max),
            growth_at_start=_growth(self._opening),
            growth=_growth(self._probe) if self._trial.measured else (),
            message=message,
            notes=tuple(self._notes),
            run=str(run.path),
            optimizers=_apart(trained),
            changeable=self._begun is not None,
        )

    def _floor(self) -> float | None:
        """0 where the loss is a multiple of functions that are never below it."""
        known = bool(self._kinds) and self._kinds <= _NEVER_NEGATIVE
        return 0.0 if known and self._baseline.ratio is not None else None

    def _withheld(self) -> tuple[float, ...]:
        """Losses of the withheld examples, as multiples of the functions' mean as the training's own are."""
        ratio = self._baseline.ratio or 1.0
        return tuple(ratio * loss for loss in self._held)

    def _end(self, outcome: Outcome, run: Run | None) -> tuple[End, str]:
        if self._refused is not None:
            return "refused", str(self._refused)
        if outcome.stopped is not None:
            return "stopped", str(outcome.stopped)
        if outcome.failure is not None and self._steps > (
            0 if run is None else len(run.steps["step"])
        ):
            return "internal", str(outcome.failure)
        if outcome.error is not None:
            return "failed", f"{type(outcome.error).__name__}: {outcome.error}"
        if outcome.code not in (None, 0):
            return "failed", f"the script left by sys.exit({outcome.code!r})"
        if run is None:
            return "unseen", "no training step was seen"
        if self._spent:
            return "budget", ""
        return ("clear" if self._clear else "finished"), ""


def _begins(run: Run) -> int:
    """The first step that was made: before it a loss scaler may skip some, while it searches for its scale."""
    searching = any(event.kind is EventKind.SCALER for event in run.events)
    made = np.flatnonzero(run.steps["applied"])
    return int(made[0]) if searching and len(made) else 0


def _apart(runs: Sequence[Run]) -> int:
    """How many optimizers train side by side, each with a loss of its own; those that take turns are one."""
    own: list[tuple[float, ...]] = []
    for run in runs:
        losses = tuple(float(v) for v in run.steps["loss"][:_TOLD_APART])
        beside = any(_overlap(run, other) for other in runs if other is not run)
        if beside and losses not in own:
            own.append(losses)
    return max(len(own), 1)


def _overlap(run: Run, other: Run) -> bool:
    """Whether two runs went on at the same time."""
    ends = [one.started + float(one.steps["time"][-1]) for one in (run, other)]
    return max(run.started, other.started) < min(ends)


def _now() -> tuple[float, float]:
    """The clock, and the time that this process has worked."""
    return time.monotonic(), time.process_time()


def _mistakes(fact: Fact) -> list[Finding]:
    """What the rule for it finds."""
    rules = [rule for rule in all_fact_rules() if rule.fact == fact.kind]
    return [f for rule in rules for f in rule.check([fact], "torch") if f.mistake]


def _is_wrong(finding: Finding) -> bool:
    """Whether it is a mistake in the script with which no training works."""
    return finding.mistake and finding.severity is Severity.ERROR


def _goes_on(trial: Trial) -> bool:
    """Whether a mistake in the script is no reason to end it."""
    return bool(trial.source or trial.changes or trial.seconds or trial.measured)


def _growth(probe: Probe | None) -> tuple[tuple[str, float], ...]:
    """The budget by cause, in decades."""
    if probe is None or not probe.operations:
        return ()
    return tuple((str(cause), share / math.log(10)) for cause, share in shares(probe).items())


def _loaded(path: Path) -> Run | None:
    try:
        run = load(path)
    except EvengradError:
        return None
    return run if len(run.steps["step"]) else None


def _profile(run: Run, which: Callable[[Any], int]) -> tuple[tuple[str, float], ...]:
    """Gradient rms of the weight matrices in the first (min) or last step that was read, forward order."""
    details = run.details if len(run.details["step"]) else run.recent
    if not len(details["step"]):
        return ()
    at = details["step"] == which(details["step"])
    pairs = zip(details["tensor"][at], details["gradient_rms"][at], strict=True)
    found = [
        (run.subject.tensors[int(i)].layer, float(rms))
        for i, rms in pairs
        if run.subject.tensors[int(i)].fan_in and math.isfinite(rms)
    ]
    return tuple(found)


class _seeded:
    """The generators that belong to no framework: seeded now, and the script's own seeds moved by as much."""

    def __init__(self, seed: int) -> None:
        self.seed = seed

    def __enter__(self) -> None:
        random.seed(self.seed)
        np.random.seed(self.seed)
        self._kept = np.random.seed, random.seed, np.random.default_rng
        np.random.seed = self._moved(np.random.seed)
        random.seed = self._moved(random.seed)
        np.random.default_rng = self._moved(np.random.default_rng)

    def __exit__(self, *_: object) -> None:
        np.random.seed, random.seed, np.random.default_rng = self._kept

    def _moved(self, original: Callable[..., Any]) -> Callable[..., Any]:
        def seed(value: Any = None, *args: Any, **kwargs: Any) -> Any:
            moved = value + self.seed if isinstance(value, int) else value
            return original(self.seed if moved is None else moved, *args, **kwargs)

        return seed


def main(folder: Path) -> None:
    """Perform the trial in this folder."""
    end_with_parent()
    notes = ImportNotes()
    trial = Trial.from_json(json.loads((folder / "trial.json").read_text()))
    try:
        result = perform(trial, folder)
    except EvengradError as error:
        result = Result("internal" if failure.is_own(error) else "failed", message=str(error))
    except Exception as error:
        result = Result("internal", message=str(failure.internal("in a trial", error)))
    (folder / "imported.json").write_text(json.dumps(astuple(notes.found())))
    unfinished = folder / "result.json.part"
    unfinished.write_text(result.stored())
    unfinished.replace(folder / "result.json")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
