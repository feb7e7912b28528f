"""What fix found, as text."""

from __future__ import annotations

import numpy as np

from evengrad.fixing.outcome import Attempt, Fixing
from evengrad.report.run_text import sparkline
from evengrad.report.spoken import padded, written
from evengrad.values.finding import Finding
from evengrad.values.message import joined, msg


def attempt_line(attempt: Attempt) -> str:
    """One trial in a line: whether it is well, what was changed, and what came of it."""
    mark = "+" if attempt.verdict.good else "-"
    name: str = msg("as it is")
    what: str = ""
    if attempt.candidate is not None:
        name, what = attempt.candidate.remedy, msg("{reason}: ", reason=attempt.candidate.reason)
    if attempt.patched:
        name, what = joined(msg(", "), (name, msg("patched"))), ""
    early = (
        msg(" (clear in {number} steps)", number=len(attempt.result.losses))
        if attempt.result.end == "clear"
        else ""
    )
    return msg(
        "{mark} {name} seed {seed}  {what}{why}{early}",
        mark=mark,
        name=padded(name, 26),
        seed=attempt.seed,
        what=what,
        why=attempt.verdict.why,
        early=early,
    )


def render(found: Fixing) -> str:
    """The whole result."""
    parts = {
        "healthy": _healthy,
        "fixed": _fixed,
        "not_fixed": _not_fixed,
        "cannot_run": _cannot_run,
        "internal_error": _cannot_run,
    }
    return written(parts[found.status](found))


def headline(found: Fixing) -> str:
    """The result in a sentence, without its full stop."""
    target = found.plan.target
    if found.status == "healthy":
        return msg(
            "{target} is healthy and learns, with each of {number} seeds: nothing is changed",
            target=target,
            number=len(found.plain),
        )
    if found.status == "fixed" and found.chosen is not None:
        return msg("{target} is fixed: {reason}", target=target, reason=found.chosen.reason)
    if found.status == "not_fixed":
        return msg("{target} is not healthy, and no remedy that was tried fixes it", target=target)
    if found.status == "internal_error":
        return found.message.removesuffix(".")
    return msg("{target} could not be run: {message}", target=target, message=found.message)


def closest(found: Fixing) -> str:
    """What came closest, in a sentence; nothing where it was fixed, or nothing tried."""
    near = found.closest if found.status == "not_fixed" else None
    if near is None or near.candidate is None:
        return ""
    return msg("Closest came {reason}: {why}.", reason=near.candidate.reason, why=near.verdict.why)


def _healthy(found: Fixing) -> list[str]:
    return [
        msg("{headline}.", headline=headline(found)),
        *(joined(" ", (f.code, f.title)) for f in found.findings),
        *_curves(list(found.plain)),
    ]


def _fixed(found: Fixing) -> list[str]:
    assert found.chosen is not None
    assert found.patch is not None
    lines: list[str] = [msg("{headline}.", headline=headline(found)), ""]
    lines += [joined(" ", (f.code, f.title)) for f in found.findings]
    lines += ["", *found.notes, *_curves([found.plain[-1], *found.proof]), ""]
    if found.patch.manual:
        lines += [msg("To be changed by hand:"), *found.patch.manual]
    else:
        lines += [found.patch.diff(found.plan.target).rstrip("\n")]
    what = msg("live change") if found.patch.manual else msg("patched script")
    lines += [
        "",
        msg(
            "Proof: the {what} is healthy and learns with each of {seeds} seeds.",
            what=what,
            seeds=_seeds(found),
        ),
    ]
    return [*lines, *filter(None, [reference(found)]), _cost(found)]


def _seeds(found: Fixing) -> int:
    return len(
        {attempt.seed for attempt in (*found.proof, *found.attempts) if attempt.verdict.good}
    )


def _not_fixed(found: Fixing) -> list[str]:
    lines: list[str] = [msg("{headline}.", headline=headline(found))]
    for finding in found.findings:
        lines += ["", *_with_advice(finding)]
    lines += ["", msg("Tried:"), *(joined("", ("  ", attempt_line(a))) for a in found.attempts)]
    return [*lines, *filter(None, [closest(found), reference(found)]), _cost(found)]


def _with_advice(finding: Finding) -> list[str]:
    """A finding with the line that it comes from, and what is to be done by hand."""
    where = [] if finding.where is None else [f"  {finding.where}"]
    return [
        joined(" ", (finding.code, finding.title)),
        *where,
        *(joined("", ("  > ", step)) for step in finding.advice),
    ]


def reference(found: Fixing) -> str:
    """What the reference came to, in a sentence; nothing where it was not run."""
    if found.reference is None:
        return ""
    return msg(
        "The standard recipe, {steps} steps: {why}.",
        steps=found.plan.steps,
        why=found.reference.verdict.why,
    )


def _cannot_run(found: Fixing) -> list[str]:
    return [headline(found)]


def _cost(found: Fixing) -> str:
    return msg(
        "Cost: {cost:.1f} plain runs of {steps} steps.", cost=found.cost, steps=found.plan.steps
    )


def _curves(attempts: list[Attempt]) -> list[str]:
    """Losses, one line a trial."""
    lines: list[str] = []
    for attempt in attempts:
        name = (
            msg("as it is")
            if attempt.candidate is None
            else msg("patched")
            if attempt.patched
            else msg("changed")
        )
        losses = np.array(attempt.result.losses)
        values = losses[np.isfinite(losses)]
        ends = f"{values[0]:.4g} -> {attempt.verdict.level:.4g}" if len(values) else msg("no loss")
        lines.append(
            msg(
                "  {name} seed {seed}  {sparkline}  loss {ends}",
                name=padded(name, 9),
                seed=attempt.seed,
                sparkline=sparkline(values),
                ends=ends,
            )
        )
    return lines
