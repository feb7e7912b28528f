"""What if: a run that went wrong is made again from its start, each time with one thing changed, up to where it
went wrong and somewhat further. Which of the changes prevent it says what caused it.
"""

from __future__ import annotations

import hashlib
import math
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from typing import Literal

from evengrad.errors import EvengradError
from evengrad.fixing.changes.clip_gradients import ClipGradients
from evengrad.fixing.changes.full_precision import FullPrecision
from evengrad.fixing.changes.leave_out import LeaveOut
from evengrad.fixing.changes.set_rate import SetRate
from evengrad.fixing.processes import abandon, execute
from evengrad.fixing.trial import Result, Trial
from evengrad.fixing.wording import number
from evengrad.recording.reader import load
from evengrad.values.change import Change
from evengrad.values.message import joined, msg
from evengrad.values.run import Run

Ending = Literal["prevented", "again", "otherwise", "not tried"]
"""No step was refused; one was, not later than half as many steps again; one was later; it could not be run."""

SLOWER = 0.1
"""The lower rate that is tried, of the run's own."""
_FURTHER, _LEAST, _MOST = 0.5, 20, 500
"""How much further than the refused step: a share of it, and in steps at least and at most."""


@dataclass(frozen=True, slots=True)
class Question:
    """One thing that is changed. key: "as it was", "rate", "clip", "batch", "seed" or "precision". words: it as
    a line for people. number: so often the very same was asked before.
    """

    key: str
    words: str
    changes: tuple[Change, ...] = ()
    seed: int = 0
    number: int = 0


@dataclass(frozen=True, slots=True)
class Answer:
    """What came of it.

    Attributes:
        question: what was changed.
        outcome: whether it prevents what happened.
        step: the first that was refused, 0-based; None for none.
        steps: how many were made.
        loss: the last one; NaN where not known.
        message: why it could not be tried.
        losses: of every step.
    """

    question: Question
    outcome: Ending
    step: int | None
    steps: int
    loss: float
    message: str = ""
    losses: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True)
class WhatIf:
    """All answers, and what follows from them. horizon: steps that each was given."""

    step: int
    horizon: int
    answers: tuple[Answer, ...]
    conclusion: str


def what_if(
    run: Run,
    step: int,
    folder: Path,
    *,
    jobs: int = 1,
    executor: Executor | None = None,
    answered: Callable[[Question, Answer | None], None] | None = None,
) -> WhatIf:
    """Ask each question of a run in which a step was refused.

    Args:
        run: one of ``evengrad run``, whose script is still there.
        step: the one that was refused, 0-based.
        folder: where the trials are kept; the same call takes up from them.
        jobs: trials side by side.
        executor: performs them instead of threads of our own.
        answered: told of each question when it is asked (None) and when it is answered.

    Returns:
        The answers, first "as it was" twice, and what follows from them.

    Raises:
        EvengradError: the run does not say which script it is of, or there is no such script any more.
    """
    base, place = _trial_of(run)
    content, tell = _content(base, place), answered or _silent
    horizon = step + 1 + min(max(int(_FURTHER * step), _LEAST), _MOST)
    own = executor or ThreadPoolExecutor(jobs)
    asked = list(questions(run, step))
    try:
        waiting = []
        for question in asked:
            tell(question, None)
            trial = replace(
                base, changes=question.changes, seed=question.seed, steps=horizon, whole=True
            )
            name = f"{trial.key(content)}-{question.number}"
            waiting.append((question, own.submit(execute, trial, (folder / name).resolve(), place)))
        answers = []
        for question, future in waiting:
            answers.append(answer(question, future.result(), step, horizon))
            tell(question, answers[-1])
    except BaseException:
        own.shutdown(wait=False, cancel_futures=True)
        abandon()
        raise
    finally:
        if executor is None:
            own.shutdown()
    return WhatIf(step, horizon, tuple(answers), conclusion(answers))


def _silent(*_: object) -> None: ...


def questions(run: Run, step: int) -> Iterator[Question]:
    """As it was, twice; then one change at a time, where it makes sense in this run."""
    for time in range(2):
        yield Question(
            "as it was",
            msg("as it was") if time == 0 else msg("as it was, again"),
            number=time,
        )
    rates = [float(rate) for rate in run.steps["rate"] if math.isfinite(rate) and rate > 0]
    if rates:
        slower = SLOWER * rates[0]
        words = msg(
            "learning rate {rates} -> {slower}", rates=number(rates[0]), slower=number(slower)
        )
        yield Question("rate", words, (SetRate(slower),))
    before = run.steps["norm"][run.steps["step"] < step]
    norms = [float(norm) for norm in before if math.isfinite(norm) and norm > 0]
    if norms:
        bound = median(norms)
        words = msg("clipped at {bound}, the median norm", bound=number(bound))
        yield Question("clip", words, (ClipGradients("norm", bound),))
    yield Question("batch", msg("that step left out"), (LeaveOut(1),))
    yield Question("seed", msg("another seed"), seed=1)
    yield Question("precision", msg("all in float32"), (FullPrecision(),))


def answer(question: Question, result: Result, step: int, horizon: int) -> Answer:
    """Of what came of its trial."""
    if result.end in ("refused", "failed", "unseen", "internal") or result.run is None:
        return Answer(question, "not tried", None, 0, math.nan, result.message or result.end)
    run = load(result.run)
    refused = [
        int(number)
        for number, applied in zip(run.steps["step"], run.steps["applied"], strict=True)
        if not applied
    ]
    first = refused[0] if refused else None
    made = len(result.losses)
    if first is None or (question.key == "batch" and result.end != "stopped"):
        outcome: Ending = "prevented"
    else:
        outcome = "again" if first <= max(step, (step + horizon) // 2) else "otherwise"
    loss = result.losses[-1] if result.losses else math.nan
    return Answer(question, outcome, first, made, loss, losses=result.losses)


def conclusion(answers: Sequence[Answer]) -> str:
    """What follows, in a sentence or two."""
    first, second = (a for a in answers if a.question.key == "as it was")
    if "not tried" in (first.outcome, second.outcome):
        return msg(
            "The script could not be run again: {message}", message=first.message or second.message
        )
    if not same(first, second):
        return msg(
            "Twice the same gave two results: it is not reproducible, so that no single change can be said to "
            "prevent it. Look for nondeterminism (data loaded in parallel, unseeded noise, nondeterministic "
            "kernels), or for failing hardware."
        )
    if first.outcome == "prevented":
        return msg(
            "As it was, with all seeds fixed, it did not happen again: it hangs on a draw that the script does "
            "not seed. Seed it, and run it until it happens."
        )
    hence = [_BECAUSE[a.question.key] for a in answers if a.outcome == "prevented"]
    if not hence:
        return msg(
            "It is reproducible, and none of these changes prevents it: look at the operation and the line "
            "where it was born, rather than at the rate, the data or the precision."
        )
    return msg("It is reproducible: data or model, not hardware. {hence}", hence=joined(" ", hence))


def same(one: Answer, other: Answer) -> bool:
    """Whether two trials made the same steps, bit by bit."""
    return one.step == other.step and all(
        a == b or (math.isnan(a) and math.isnan(b))
        for a, b in zip(one.losses, other.losses, strict=False)
    )


_BECAUSE = {
    "rate": msg("A lower rate prevents it: the steps are too large."),
    "clip": msg("A clip prevents it: single gradients are too large."),
    "batch": msg("Leaving out that step is enough: look at its batch."),
    "seed": msg(
        "Another seed prevents it: it needs these initial weights or this order of the data."
    ),
    "precision": msg("Float32 prevents it: half precision overflows or underflows."),
}


def _trial_of(run: Run) -> tuple[Trial, str]:
    """The script as the run began it, and the folder that it ran in."""
    command = run.subject.settings.get("command")
    if not command:
        raise EvengradError(
            msg(
                "{path!r} does not say which script it is of. Expected a run of `evengrad run SCRIPT`, "
                "made by this version or a later one.",
                path=str(run.path),
            )
        )
    target, module = str(command["target"]), bool(command["module"])
    place = str(command["folder"])
    if not os.path.isdir(place) or not (module or os.path.isfile(os.path.join(place, target))):
        raise EvengradError(
            msg(
                "There is no {target!r} in {place!r} any more, which this run is of; put it back to run "
                "it again.",
                target=target,
                place=place,
            )
        )
    return Trial(target, arguments=tuple(map(str, command["arguments"])), module=module), place


def _content(trial: Trial, place: str) -> str:
    """What a trial's name hangs on, besides what it does."""
    path = Path(place) / trial.target
    text = path.read_bytes() if path.is_file() else b""
    return hashlib.sha256(place.encode() + b"\0" + text).hexdigest()
