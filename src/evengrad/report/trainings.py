"""Several trainings of one script, each with a check of its own: the words between them."""

from __future__ import annotations

from collections.abc import Sequence

from evengrad.report import words
from evengrad.report.run_words import duration
from evengrad.values.fact import Where
from evengrad.values.message import joined, msg
from evengrad.values.wording import count
from evengrad.verbs.check import Check

_SHORT = 10.0


def heading(check: Check) -> str:
    """Which training this is: "Training 2: netG by optimizerG, at gan.py:31"."""
    training = check.probe.training
    if training is None:
        return ""
    at = (
        msg(", at {file}:{line}", file=training.where.file, line=training.where.line)
        if training.where
        else ""
    )
    return msg("Training {number}: {name}{at}", number=training.number, name=training.name, at=at)


def told_before(check: Check, before: Sequence[Check]) -> Check | None:
    """An earlier training of the same line with the same findings; None where this one is news."""
    return next((other for other in before if _what(other) == _what(check)), None)


def again(check: Check, other: Check) -> str:
    """A training of which nothing is to be told that was not told of another one."""
    assert other.probe.training is not None
    found = msg("nothing found") if check.healthy else msg("the same findings")
    return msg(
        "{heading}: {found}, as in training {number}",
        heading=heading(check),
        found=found,
        number=other.probe.training.number,
    )


def summary(
    checks: Sequence[Check], ahead: Where | None, seconds: float, trouble: str
) -> list[str]:
    """How many there were, and what was not waited for."""
    lines: list[str] = []
    if len(checks) > 1:
        lines.append(
            msg(
                "{trainings}: {found}.",
                trainings=count(len(checks), "training"),
                found=_found(checks),
            )
        )
    if ahead is not None:
        spent = duration(float(round(seconds)) if seconds >= _SHORT else seconds)
        lines.append(
            msg(
                "The script may begin another training at {file}:{line}, which it had not come to "
                "after {spent}: it was not checked. --patience {more} waits longer, --fit "
                "{number} as long as it takes.",
                file=ahead.file,
                line=ahead.line,
                spent=spent,
                more=_more(seconds),
                number=len(checks) + 1,
            )
        )
    if trouble:
        lines.append(
            msg(
                "Training {number} could not be checked: {trouble}",
                number=len(checks) + 1,
                trouble=trouble,
            )
        )
    return lines


def _more(seconds: float) -> int:
    return max(60, 60 * round(6 * seconds / 60))


def _found(checks: Sequence[Check]) -> str:
    sick = [
        msg(
            "training {number} has {counted}",
            number=one.probe.training.number,
            counted=words.counted(one.findings),
        )
        for one in checks
        if not one.healthy and one.probe.training is not None
    ]
    if not sick:
        return msg("nothing found in any")
    return joined(msg(", "), sick) + (
        msg(", nothing found in the others") if len(sick) < len(checks) else ""
    )


def _what(check: Check) -> tuple[object, ...]:
    training = check.probe.training
    which = None if training is None else (training.where, training.name)
    findings = tuple((one.code, one.severity, one.where) for one in check.findings)
    return which, words.unseen(check), findings
