"""Performs an experiment: every cell a trial in a process of its own, each kept and taken up again."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor, as_completed
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from evengrad.errors import EvengradError
from evengrad.fixing.lab import article, own
from evengrad.fixing.lab.cells import Cell, LabTraining, Table
from evengrad.fixing.lab.claims import JudgedClaim, judge_all
from evengrad.fixing.lab.grid import LabPlan, cells, expect
from evengrad.fixing.lab.subject import LabSubject
from evengrad.fixing.processes import abandon, execute
from evengrad.fixing.trial import Result, Trial
from evengrad.values.message import msg

_ACCURACY = re.compile(r"\bacc(?:uracy)?\b\W{1,4}(\d*\.\d+|\d+)(\s*%)?", re.IGNORECASE)


class LabListener(Protocol):
    """Who wants to see it going on."""

    def begin(self, cells: int) -> None: ...
    def measured(self, one: LabTraining) -> None: ...


@dataclass(frozen=True)
class Experiment:
    """What was measured.

    Attributes:
        plan: what was asked for.
        table: all cells that were done.
        planned: how many cells there are to be.
        judged: the claims.
    """

    plan: LabPlan
    table: Table
    planned: int
    judged: tuple[JudgedClaim, ...]

    @property
    def whole(self) -> bool:
        """Whether every cell was done."""
        return len(self.table.measured) >= self.planned


def experiment(
    plan: LabPlan, listener: LabListener, executor: Executor | None = None
) -> Experiment:
    """Perform it. Ctrl-C ends it early, with what is done until then.

    Args:
        plan: what to measure.
        listener: told of each cell.
        executor: performs the trials; by default a pool of ``plan.jobs``. Its workers must see the folder.

    Returns:
        What was measured, and the claims judged by it.

    Raises:
        EvengradError: a cause or remedy that there is not, or no digits.
        ScriptError: a script that does not train.
    """
    expect(plan)
    pool = ThreadPoolExecutor(plan.jobs)
    found: list[LabTraining] = []
    subjects: Sequence[LabSubject] = ()
    planned = 1
    try:
        subjects = _subjects(plan, executor or pool)
        every = cells(plan, subjects)
        planned = len(every)
        listener.begin(planned)
        for one in _measured(every, executor or pool, plan.folder):
            found.append(one)
            listener.measured(one)
    except KeyboardInterrupt:
        pool.shutdown(wait=False, cancel_futures=True)
        abandon()
    except BaseException:
        pool.shutdown(wait=False, cancel_futures=True)
        abandon()
        raise
    pool.shutdown()
    table = Table(subjects, found)
    return Experiment(plan, table, planned, judge_all(table))


def _subjects(plan: LabPlan, executor: Executor) -> list[LabSubject]:
    if plan.script is not None:
        return [own.subject(plan, executor)]
    found = article.subjects(plan)
    if plan.cures and "pretrained" not in plan.cures:
        return [article.untaught(subject) for subject in found]
    taught = [_submit(executor, plan.folder, article.teaching(s), s) for s in found]
    return [
        subject if _is_there(future.result(), subject) else article.untaught(subject)
        for subject, (_, future) in zip(found, taught, strict=True)
    ]


def _is_there(result: Result, subject: LabSubject) -> bool:
    if result.end in ("failed", "unseen"):
        raise EvengradError(
            msg("The article's script does not train: {message}", message=result.message)
        )
    return subject.pretrained is not None and Path(subject.pretrained).exists()


def _measured(every: Sequence[Cell], executor: Executor, home: Path) -> Iterator[LabTraining]:
    waiting: dict[Future[Result], tuple[Cell, Path]] = {}
    try:
        for cell in every:
            folder, future = _submit(executor, home, trial_of(cell), cell.subject)
            waiting[future] = cell, folder
        for future in as_completed(waiting):
            cell, folder = waiting[future]
            yield measured(cell, future.result(), folder)
    finally:
        for future in waiting:
            future.cancel()


def _submit(
    executor: Executor, home: Path, trial: Trial, subject: LabSubject
) -> tuple[Path, Future[Result]]:
    folder = (home / "trials" / trial.key(subject.source())).resolve()
    return folder, executor.submit(execute, trial, folder, os.getcwd())


def trial_of(cell: Cell) -> Trial:
    """What runs it. The article's script goes on to its end, where it says what it has reached."""
    subject = cell.subject
    return Trial(
        subject.target,
        arguments=(*subject.arguments, *cell.cause.article),
        module=subject.module,
        changes=cell.changes() or (),
        seed=cell.seed,
        steps=subject.steps - 1 if subject.article else subject.steps,
        measured=True,
        onward=subject.article,
    )


def measured(cell: Cell, result: Result, folder: Path) -> LabTraining:
    """A cell's result, with the accuracy that its script printed last."""
    accuracy = None
    with suppress(OSError):
        accuracy = printed_accuracy((folder / "output.txt").read_text(errors="replace"))
    names = cell.subject.name, cell.cause.name, cell.cure.name
    return LabTraining(*names, cell.seed, result, accuracy)


def printed_accuracy(text: str) -> float | None:
    """What a script says last: "accuracy 0.93", "Test acc: 93.1%"; None where it says nothing of the kind."""
    found = _ACCURACY.findall(text)
    if not found:
        return None
    number, percent = found[-1]
    value = round(float(number) / (100 if percent or float(number) > 1 else 1), 12)
    return value if 0 <= value <= 1 else None
