"""The wording of a run that text and HTML share: how it ended, its setting, its figures."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from evengrad.diagnosis.catalogue import all_fact_rules, paragraphs
from evengrad.diagnosis.readings import ENOUGH, events_of_kind, losses
from evengrad.report.words import counted, number
from evengrad.values.fact import Fact
from evengrad.values.finding import Finding, Severity
from evengrad.values.message import ENGLISH, joined, known_text, language, msg
from evengrad.values.run import Event, EventKind, Run
from evengrad.values.wording import count, percent


@dataclass(frozen=True, slots=True)
class RunFigures:
    """A run in a few numbers; NaN where not known. norm: of all gradients, before the clip, over the
    steps that were finite. clip_share: of the steps, 0 to 1.
    """

    steps: int
    seconds: float
    first_loss: float
    last_loss: float
    median_norm: float
    largest_norm: float
    largest_at: int
    clip_share: float
    not_applied: int
    not_finite: int


def figures(run: Run) -> RunFigures:
    """Worked out from the steps; losses are medians of up to 20 of them, so that one batch decides nothing."""
    norm, loss = run.steps["norm"], losses(run)[1]
    finite = np.isfinite(norm) & (run.steps["applied"] > 0)
    finite = finite if finite.any() else np.isfinite(norm)
    few = max(1, min(20, len(loss) // 5))
    times = run.steps["time"]
    at = int(np.argmax(np.where(finite, norm, -1))) if len(norm) else 0
    return RunFigures(
        steps=len(norm),
        seconds=float(times[-1]) if len(times) else 0.0,
        first_loss=float(np.median(loss[:few])) if len(loss) else math.nan,
        last_loss=float(np.median(loss[-few:])) if len(loss) else math.nan,
        median_norm=float(np.median(norm[finite])) if finite.any() else math.nan,
        largest_norm=float(norm[at]) if finite.any() else math.nan,
        largest_at=int(run.steps["step"][at]) if finite.any() else 0,
        clip_share=float((run.steps["coefficient"] < 1).mean()) if len(norm) else 0.0,
        not_applied=int((run.steps["applied"] == 0).sum()),
        not_finite=int((~np.isfinite(norm)).sum()),
    )


def outcome(run: Run, findings: Sequence[Finding]) -> str:
    """One line: how it ended, and what was found."""
    last = int(run.steps["step"][-1]) if len(run.steps["step"]) else 0
    stops = events_of_kind(run, EventKind.STOP)
    found = counted(findings) if findings else msg("nothing found")
    if run.status == "stopped" or stops:
        at = stops[0].step if stops else last
        return msg(
            "Stopped by the guard at step {at:,}, before it reached the weights: {found}",
            at=at,
            found=found,
        )
    ends = {
        "running": msg("Still running, step {last:,}: {found} so far", last=last, found=found),
        "failed": msg("The script failed after step {last:,}: {found}", last=last, found=found),
        "interrupted": msg("Interrupted after step {last:,}: {found}", last=last, found=found),
    }
    if run.status in ends:
        return ends[run.status]
    if findings:
        return msg("Finished, not healthy: {found}", found=found)
    missing = unseen(run)
    return (
        msg("Finished: nothing found; {missing}", missing=joined(msg("; "), missing))
        if missing
        else msg("Finished, healthy: nothing found")
    )


def trainings(found: Sequence[tuple[Run, Sequence[Finding]]]) -> list[str]:
    """A line for each training of a script, under how many there were."""
    ends = [(run.subject, outcome(run, findings), findings[:1]) for run, findings in found]
    return [
        msg("{number} trainings:", number=len(found)),
        *(
            joined(
                "; ",
                [
                    msg(
                        "{number}. {model}, {optimizer}: {end}",
                        number=number,
                        model=one.model,
                        optimizer=one.optimizer,
                        end=end,
                    ),
                    *(joined(" ", (f.code, f.title)) for f in first),
                ],
            )
            for number, (one, end, first) in enumerate(ends, start=1)
        ),
    ]


def unseen(run: Run) -> tuple[str, ...]:
    """What could not be judged, and why."""
    steps, loss = len(run.steps["step"]), losses(run)[1]
    if not len(loss):
        return (msg("its loss was not seen, so that nobody can say whether it learns"),)
    if steps < ENOUGH:
        return (
            msg("{steps} is too few to say whether it learns", steps=count(steps, "step"))
            if steps == 1
            else msg("{steps} are too few to say whether it learns", steps=count(steps, "step")),
        )
    return ()


def level(run: Run, findings: Sequence[Finding]) -> str:
    """The word for the worst of it: healthy, warning or error."""
    worst = max((finding.severity for finding in findings), default=None)
    if worst is Severity.ERROR or run.status in ("stopped", "failed"):
        return "error"
    if worst is None:
        return "partly" if run.status == "finished" and unseen(run) else "healthy"
    return "warning"


def setting(run: Run) -> tuple[str, ...]:
    """What was watched: framework, script, model, optimizer, clip and guard."""
    subject = run.subject
    versions = ", ".join(subject.versions) or subject.frontend
    if subject.frontend == "keras" and not any(subject.backend in v for v in subject.versions):
        versions += msg(" on {backend}", backend=subject.backend)
    rates = run.steps["rate"][np.isfinite(run.steps["rate"])]
    rate: str = ""
    if len(rates):
        rate = msg(", learning rate {rates:g}", rates=rates[0])
        if rates[-1] != rates[0]:
            rate += msg(" to {rates:g}", rates=rates[-1])
    clip, guard = subject.settings.get("clip"), subject.settings.get("guard")
    return (
        versions,
        subject.script,
        subject.model,
        subject.optimizer + rate,
        msg("clip: {clip}", clip=clip or msg("none")),
        msg("guard: {guard}", guard=guard or msg("none")),
    )


def duration(seconds: float) -> str:
    """Such as "42 s", "3 min 5 s", "2 h 10 min"."""
    if seconds < 10:
        return msg("{seconds:.1f} s", seconds=seconds)
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return (
            msg("{minutes} min {rest} s", minutes=minutes, rest=rest)
            if minutes
            else msg("{rest} s", rest=rest)
        )
    return msg("{hours} h {rest} min", hours=minutes // 60, rest=minutes % 60)


def facts(run: Run) -> list[tuple[str, str]]:
    """The figures as (label, value), in the order in which they matter."""
    measured = figures(run)
    if not measured.steps:
        return [(msg("steps"), "0")]
    speed = (
        msg(" ({speed:.3g}/s)", speed=measured.steps / measured.seconds)
        if measured.seconds > 0
        else ""
    )
    shown: list[tuple[str, str]] = [
        (
            msg("steps"),
            msg(
                "{steps:,} in {duration}{speed}",
                steps=measured.steps,
                duration=duration(measured.seconds),
                speed=speed,
            ),
        ),
        (msg("loss"), f"{number(measured.first_loss)} → {number(measured.last_loss)}"),
        (
            msg("gradient norm"),
            msg(
                "{median_norm}, at most {largest_norm}",
                median_norm=number(measured.median_norm),
                largest_norm=number(measured.largest_norm),
            ),
        ),
    ]
    if measured.clip_share or run.subject.settings.get("clip"):
        shown.append(
            (
                msg("clipped"),
                msg("{clip_share} of the steps", clip_share=percent(measured.clip_share)),
            )
        )
    if measured.not_finite:
        shown.append((msg("not finite"), count(measured.not_finite, "step")))
    if measured.not_applied:
        shown.append((msg("refused or skipped"), count(measured.not_applied, "step")))
    return shown


_UNRULED = {
    "loss_not_finite": msg("the loss is not finite"),
    "raw_data": msg("inputs that are not normalised"),
    "weights_frozen": msg("weights that are frozen"),
}
"""Facts that no rule of their own judges."""


def happened(event: Event) -> str:
    """What an event says. A fact has a name alone, and in another language its rule's title."""
    if event.kind is not EventKind.FACT or language() == ENGLISH:
        return event.message
    fact = Fact.from_values(event.values)
    titles = [
        paragraphs(rule.explanation)[0] for rule in all_fact_rules() if rule.fact == fact.kind
    ]
    title = re.split(r"[:：]", known_text(titles[0]))[0] if titles else ""
    said = _UNRULED.get(fact.kind, title or event.message)
    return said if fact.where is None else joined(msg(", "), (said, str(fact.where)))


def short(value: float) -> str:
    """A figure over many decades: three digits, with an exponent where that is shorter."""
    return number(value) if math.isfinite(value) else str(value)
