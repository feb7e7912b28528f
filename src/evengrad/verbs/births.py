"""Whether anything of a run or a check was not finite; the script run again to find where that was born."""

from __future__ import annotations

import math
import re
import sqlite3
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from evengrad.adapters.common.origin import birth
from evengrad.errors import EvengradError
from evengrad.recording.reader import load
from evengrad.recording.writer import append_event
from evengrad.values.fact import Fact
from evengrad.values.message import msg
from evengrad.values.probe import Probe
from evengrad.values.run import EventKind, Run, event_of
from evengrad.verbs.inquire import LONGEST, Beginnings, inquire
from evengrad.verbs.run_script import Outcome

KIND = "born"
_KNOWN = ("update_not_finite",)
"""Kinds of facts that say already where it was born."""
_HUGE = 1e15
_TOLD = re.compile(r"\bnans?\b|\binf(inity|inite)?\b|not finite|non-?finite", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Script:
    """What ran, and what it was begun with.

    Attributes:
        target: path or dotted name.
        arguments: its ``sys.argv[1:]``.
        module: whether the target is a module.
        beginnings: of the first time.
        rerun: whether it may run again: True however long that takes, None unless it takes too long.
        say: told in one line what happens.
        source: run instead of the script's own, under its name.
        function: called in it.
        throughout: every step is looked at, where it need not go wrong at the same one again.
    """

    target: str
    arguments: Sequence[str]
    module: bool
    beginnings: Beginnings
    rerun: bool | None = None
    say: Callable[[str], None] = lambda _: None
    source: str | None = None
    function: str | None = None
    throughout: bool = False

    def inquire(self, step: int, seconds: float) -> Fact | None:
        """Run it again up to this step; None where it may not, nothing was found, or Ctrl-C ends the search."""
        if self.rerun is False:
            return None
        try:
            return self._inquire(step, seconds)
        except KeyboardInterrupt:
            self.say(msg("not looking any further"))
            return None

    def _inquire(self, step: int, seconds: float) -> Fact | None:
        return inquire(
            self.target,
            self.arguments,
            module=self.module,
            step=0 if self.throughout else step,
            seconds=seconds,
            beginnings=self.beginnings,
            limit=None if self.rerun else LONGEST,
            say=self.say,
            source=self.source,
            function=self.function,
        )


def with_birth(probe: Probe, script: Script, seconds: float) -> Probe:
    """A probe with the fact where something in it was born that is not finite, if something was.

    Args:
        probe: of the script's first step.
        script: it.
        seconds: how long that took.

    Returns:
        The probe; as it is where all is finite, or nothing was found.
    """
    known = any(fact.kind == KIND for fact in probe.facts)
    if known or (birth(probe) is None and math.isfinite(probe.loss.value)):
        return probe
    fact = script.inquire(0, seconds)
    return probe if fact is None else replace(probe, facts=(*probe.facts, fact))


def add_birth(outcome: Outcome, script: Script) -> Fact | None:
    """Find where the first thing was born that was not finite in a watched script, and append that to its run.

    Args:
        outcome: of the script.
        script: it.

    Returns:
        The fact; None where all was finite, or nothing was found.
    """
    runs = [run for path in outcome.runs if (run := _loaded(path)) is not None]
    runs = [run for run in runs if len(run.steps["step"])]
    bad = [(step, run) for run in runs if (step := first_not_finite(run)) is not None]
    if not bad and _ended_on_it(outcome) and runs:
        last = max(runs, key=lambda run: _time(run, -1))
        bad = [(int(last.steps["step"][-1]) + 1, last)]
    if not bad:
        return None
    step, run = min(bad, key=lambda one: _time(one[1], one[0]))
    if any(fact.kind in (KIND, *_KNOWN) for fact in run.facts):
        return None
    when = _time(run, step)
    before = sum(int((other.started + other.steps["time"] < when).sum()) for other in runs)
    fact = script.inquire(max(before, step), max(when - script.beginnings.time, 0.0))
    if fact is None:
        return None
    told = replace(fact, step=step, values={**fact.values, "grew": grew(run, step, fact)})
    try:
        append_event(run.path, event_of(told))
    except sqlite3.Error as error:
        script.say(msg("{path} cannot be written any more: {error}", path=run.path, error=error))
    return told


def first_not_finite(run: Run) -> int | None:
    """The first step whose gradients or loss were not finite; None where there is none."""
    steps = [event.step for event in run.events if event.kind is EventKind.NON_FINITE]
    bad = run.steps["step"][run.without_loss]
    if len(bad) >= 3:
        steps.append(int(bad[0]))
    return min(steps, default=None)


def grew(run: Run, step: int, fact: Fact) -> bool:
    """Whether a divergence ended here: values beyond 1e15 in what had been rising from step to step."""
    ends = [fact.values.get("low"), fact.values.get("high")]
    largest = max((abs(float(end)) for end in ends if end is not None), default=0.0)
    if largest < _HUGE:
        return False
    before = run.steps["step"] < step
    return any(_rose(run.steps[name][before]) for name in ("loss", "norm"))


def _rose(values: np.ndarray) -> bool:
    values = np.abs(values[np.isfinite(values)])
    return len(values) >= 2 and bool(values[-1] > 10 * max(float(values[0]), 1e-30))


def _ended_on_it(outcome: Outcome) -> bool:
    """Whether the script ended itself because of a NaN, as it says."""
    said = outcome.error if outcome.error is not None else outcome.code
    return isinstance(said, Exception | str) and _TOLD.search(str(said)) is not None


def _time(run: Run, step: int) -> float:
    """When a step was made, in seconds since 1970; of one that was not, the last one. -1: the last one."""
    steps, times = run.steps["step"], run.steps["time"]
    if not len(times):
        return run.started
    at = np.flatnonzero(steps == step)
    return run.started + float(times[at[0] if len(at) else -1])


def _loaded(path: Path) -> Run | None:
    try:
        return load(path)
    except EvengradError:
        return None
