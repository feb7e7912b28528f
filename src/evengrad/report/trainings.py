"""Several trainings of one script, each with a check of its own: the words between them."""

from __future__ import annotations

from collections.abc import Sequence

from evengrad.report import words
from evengrad.values.fact import Where
from evengrad.values.wording import count
from evengrad.verbs.check import Check

_SHORT = 10.0


def heading(check: Check) -> str:
    """Which training this is: "Training 2: netG by optimizerG, at gan.py:31"."""
    training = check.probe.training
    if training is None:
        return ""
    at = f", at {training.where.file}:{training.where.line}" if training.where else ""
    return f"Training {training.number}: {training.name}{at}"


def told_before(check: Check, before: Sequence[Check]) -> Check | None:
    """An earlier training of the same line with the same findings; None where this one is news."""
    return next((other for other in before if _what(other) == _what(check)), None)


def again(check: Check, other: Check) -> str:
    """A training of which nothing is to be told that was not told of another one."""
    assert other.probe.training is not None
    found = "nothing found" if check.healthy else "the same findings"
    return f"{heading(check)}: {found}, as in training {other.probe.training.number}"


def summary(
    checks: Sequence[Check], ahead: Where | None, seconds: float, trouble: str
) -> list[str]:
    """How many there were, and what was not waited for."""
    lines = []
    if len(checks) > 1:
        lines.append(f"{count(len(checks), 'training')}: {_found(checks)}.")
    if ahead is not None:
        spent = f"{seconds:.0f} s" if seconds >= _SHORT else f"{seconds:.1f} s"
        lines.append(
            f"The script may begin another training at {ahead.file}:{ahead.line}, which it had not come to "
            f"after {spent}: it was not checked. --patience {_more(seconds)} waits longer, --fit "
            f"{len(checks) + 1} as long as it takes."
        )
    if trouble:
        lines.append(f"Training {len(checks) + 1} could not be checked: {trouble}")
    return lines


def _more(seconds: float) -> int:
    return max(60, 60 * round(6 * seconds / 60))


def _found(checks: Sequence[Check]) -> str:
    sick = [
        f"training {one.probe.training.number} has {words.counted(one.findings)}"
        for one in checks
        if not one.healthy and one.probe.training is not None
    ]
    if not sick:
        return "nothing found in any"
    return ", ".join(sick) + (", nothing found in the others" if len(sick) < len(checks) else "")


def _what(check: Check) -> tuple[object, ...]:
    training = check.probe.training
    which = None if training is None else (training.where, training.name)
    findings = tuple((one.code, one.severity, one.where) for one in check.findings)
    return which, words.unseen(check), findings
