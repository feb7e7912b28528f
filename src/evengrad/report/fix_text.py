"""What fix found, as text."""

from __future__ import annotations

import numpy as np

from evengrad.fixing.outcome import Attempt, Fixing
from evengrad.report.run_text import sparkline
from evengrad.values.finding import Finding


def attempt_line(attempt: Attempt) -> str:
    """One trial in a line: whether it is well, what was changed, and what came of it."""
    mark = "+" if attempt.verdict.good else "-"
    name, what = "as it is", ""
    if attempt.candidate is not None:
        name, what = attempt.candidate.remedy, f"{attempt.candidate.reason}: "
    if attempt.patched:
        name, what = f"{name}, patched", ""
    early = (
        f" (clear in {len(attempt.result.losses)} steps)" if attempt.result.end == "clear" else ""
    )
    return f"{mark} {name:<26} seed {attempt.seed}  {what}{attempt.verdict.why}{early}"


def render(found: Fixing) -> str:
    """The whole result."""
    parts = {
        "healthy": _healthy,
        "fixed": _fixed,
        "not_fixed": _not_fixed,
        "cannot_run": _cannot_run,
        "internal_error": _cannot_run,
    }
    return "\n".join(parts[found.status](found)) + "\n"


def headline(found: Fixing) -> str:
    """The result in a sentence, without its full stop."""
    target = found.plan.target
    if found.status == "healthy":
        return f"{target} is healthy and learns, with each of {len(found.plain)} seeds: nothing is changed"
    if found.status == "fixed" and found.chosen is not None:
        return f"{target} is fixed: {found.chosen.reason}"
    if found.status == "not_fixed":
        return f"{target} is not healthy, and no remedy that was tried fixes it"
    if found.status == "internal_error":
        return found.message.removesuffix(".")
    return f"{target} could not be run: {found.message}"


def closest(found: Fixing) -> str:
    """What came closest, in a sentence; nothing where it was fixed, or nothing tried."""
    near = found.closest if found.status == "not_fixed" else None
    if near is None or near.candidate is None:
        return ""
    return f"Closest came {near.candidate.reason}: {near.verdict.why}."


def _healthy(found: Fixing) -> list[str]:
    return [
        f"{headline(found)}.",
        *(f"{f.code} {f.title}" for f in found.findings),
        *_curves(list(found.plain)),
    ]


def _fixed(found: Fixing) -> list[str]:
    assert found.chosen is not None
    assert found.patch is not None
    lines = [f"{headline(found)}.", ""]
    lines += [f"{f.code} {f.title}" for f in found.findings]
    lines += ["", *found.notes, *_curves([found.plain[-1], *found.proof]), ""]
    if found.patch.manual:
        lines += ["To be changed by hand:", *found.patch.manual]
    else:
        lines += [found.patch.diff(found.plan.target).rstrip("\n")]
    what = "live change" if found.patch.manual else "patched script"
    lines += ["", f"Proof: the {what} is healthy and learns with each of {_seeds(found)} seeds."]
    return [*lines, *filter(None, [reference(found)]), _cost(found)]


def _seeds(found: Fixing) -> int:
    return len(
        {attempt.seed for attempt in (*found.proof, *found.attempts) if attempt.verdict.good}
    )


def _not_fixed(found: Fixing) -> list[str]:
    lines = [f"{headline(found)}."]
    for finding in found.findings:
        lines += ["", *_with_advice(finding)]
    lines += ["", "Tried:", *(f"  {attempt_line(a)}" for a in found.attempts)]
    return [*lines, *filter(None, [closest(found), reference(found)]), _cost(found)]


def _with_advice(finding: Finding) -> list[str]:
    """A finding with the line that it comes from, and what is to be done by hand."""
    where = [] if finding.where is None else [f"  {finding.where}"]
    return [f"{finding.code} {finding.title}", *where, *(f"  > {step}" for step in finding.advice)]


def reference(found: Fixing) -> str:
    """What the reference came to, in a sentence; nothing where it was not run."""
    if found.reference is None:
        return ""
    return f"The standard recipe, {found.plan.steps} steps: {found.reference.verdict.why}."


def _cannot_run(found: Fixing) -> list[str]:
    return [headline(found)]


def _cost(found: Fixing) -> str:
    return f"Cost: {found.cost:.1f} plain runs of {found.plan.steps} steps."


def _curves(attempts: list[Attempt]) -> list[str]:
    """Losses, one line a trial."""
    lines = []
    for attempt in attempts:
        name = (
            "as it is" if attempt.candidate is None else "patched" if attempt.patched else "changed"
        )
        losses = np.array(attempt.result.losses)
        values = losses[np.isfinite(losses)]
        ends = f"{values[0]:.4g} -> {attempt.verdict.level:.4g}" if len(values) else "no loss"
        lines.append(f"  {name:<9} seed {attempt.seed}  {sparkline(values)}  loss {ends}")
    return lines
