"""The wording that text and HTML share: the verdict, the setting, the causes."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence

from evengrad.diagnosis.budget import Budget
from evengrad.theory.stability import largest_stable
from evengrad.theory.stability import verdict as verdict_of_rate
from evengrad.values.finding import Cause, Finding, Severity
from evengrad.values.message import joined, msg
from evengrad.values.probe import Probe
from evengrad.values.wording import count, factor, fold, percent, size
from evengrad.verbs.check import Check

EVEN = math.log(2.0)
"""Growth below a factor of two in either direction reads as "even"; wording only, no rule."""

_NEGLIGIBLE = 0.01
_SEVERITIES = {Severity.ERROR: msg("error"), Severity.WARNING: msg("warning")}
_MOST = 0.5
_FAR = 1000.0
"""A rate that many times away from the one in use is told by this word: its figure is of no use."""
_MISSING = re.compile(r"could not|not known|unknown")
_OF_RATE = re.compile(r"learning rate|updates? ")


def number(value: float | None) -> str:
    """A figure for a table; an en dash where there is none."""
    if value is None:
        return "–"
    if math.isnan(value) or math.isinf(value):
        return str(value)
    return f"{value:.3g}"


def cause(word: Cause) -> str:
    """A cause for people: "learning rate"."""
    return word.words


def severity(level: Severity) -> str:
    """The word for a severity: error or warning."""
    return _SEVERITIES[level]


def growth(probe: Probe, split: Budget) -> str:
    """One sentence on the total."""
    total = split.total
    if probe.outputs and all(port.norm == 0.0 for port in probe.outputs):
        return msg("No gradient leaves the loss: it is exactly 0 at the output.")
    if not probe.operations:
        return msg("The operations between input and output were not measured.")
    if not split.profile:
        return msg("No gradient passes any operation between input and output.")
    if math.isnan(total) or total == math.inf:
        return msg("The gradient is not finite somewhere between output and input.")
    if total == -math.inf:
        return msg("No gradient reaches the input.")
    if abs(total) < EVEN:
        return msg("The gradient stays even: {total} from output to input.", total=factor(total))
    if total > 0:
        return msg("The gradient grows {total} from output to input.", total=fold(total))
    return msg("The gradient shrinks {total} from output to input.", total=fold(total))


def verdict(check: Check) -> str:
    """Healthy, or how many findings of which severity; without findings, what was not looked at."""
    if not check.healthy:
        return msg("Not healthy: {counted}", counted=counted(check.findings))
    missing = unseen(check)
    if not missing:
        return msg("Healthy: nothing found")
    return msg("Nothing found in this first batch; {missing}", missing=joined(msg("; "), missing))


def level(check: Check) -> str:
    """The word for it: error, warning, "partly" where nothing was found but not all was looked at, healthy."""
    if not check.healthy:
        return max(finding.severity for finding in check.findings).name.lower()
    return "partly" if unseen(check) else "healthy"


def unseen(check: Check) -> tuple[str, ...]:
    """What a check could not look at, each with its reason; empty for a forecast, which looks at nothing."""
    probe = check.probe
    if check.forecast is not None:
        return ()
    failed = [note for note in probe.notes if _MISSING.search(note) and "forecast" not in note]
    of_rate = [note for note in failed if _OF_RATE.search(note)] if probe.rate is None else []
    told = [msg("the learning rate was not checked: {note}", note=note) for note in of_rate[:1]]
    return (*told, *(note for note in failed if note not in of_rate))


def facts(finding: Finding) -> tuple[str, ...]:
    """Its evidence, without the user's line, which stands apart."""
    line = "" if finding.where is None else str(finding.where)
    return tuple(fact for fact in finding.evidence if fact != line)


def echoing(finding: Finding) -> str:
    """The label of its echoes: what is measured beside a mistake says nothing of its own."""
    return msg("measured under it") if finding.mistake else msg("also")


def counted(findings: Sequence[Finding]) -> str:
    """Such as "1 error, 2 warnings"."""
    counts = {level: sum(f.severity is level for f in findings) for level in Severity}
    parts = [
        count(number, level.name.lower())
        for level, number in sorted(counts.items(), reverse=True)
        if number
    ]
    return joined(msg(", "), parts)


def setting(check: Check) -> tuple[str, ...]:
    """What was checked: framework, model, loss, optimizer, batch."""
    probe = check.probe
    parts = [", ".join(probe.versions) or probe.frontend, probe.model]
    if probe.frontend == "keras" and not any(probe.backend in v for v in probe.versions):
        parts[0] += msg(" on {backend}", backend=probe.backend)
    penalty: str = (
        msg(" + {penalty} penalty", penalty=number(probe.loss.penalty))
        if probe.loss.penalty
        else ""
    )
    if check.forecast is not None:
        parts.append(msg("forecast from the architecture, nothing was run"))
    else:
        parts.append(f"{probe.loss.name} = {number(probe.loss.value)}" + penalty)
    if probe.optimizer is not None:
        rate = probe.optimizer.learning_rate
        at = "" if rate is None else msg(", learning rate {rate:g}", rate=rate)
        parts.append(probe.optimizer.name + at)
    if probe.batch_size:
        parts.append(msg("batch of {batch_size}", batch_size=probe.batch_size))
    return tuple(parts)


def learning_rate(probe: Probe) -> str | None:
    """One sentence on the rate; None where it is not known."""
    rate = probe.rate
    if rate is None:
        return None
    stable = largest_stable(rate)
    how = msg("{passes} forward passes", passes=rate.passes)
    if rate.sharpness is not None:
        how = msg("sharpness {sharpness}, {how}", sharpness=number(rate.sharpness), how=how)
    if math.isinf(stable):
        return msg(
            "Learning rate {learning_rate:g}: safe, no step along the update raises the loss ({how}).",
            learning_rate=rate.learning_rate,
            how=how,
        )
    verdicts = {
        "safe": msg("safe"),
        "catapult": msg("beyond the edge, may catapult"),
        "diverges": msg("diverges"),
    }
    found = msg(
        "Learning rate {learning_rate:g}: {verdicts}",
        learning_rate=rate.learning_rate,
        verdicts=verdicts[verdict_of_rate(rate)],
    )
    if stable > _FAR * rate.learning_rate:
        return msg(
            "{found}; one a thousand times larger is stable, too ({how}).", found=found, how=how
        )
    if stable * _FAR < rate.learning_rate:
        return msg(
            "{found}; it is more than a thousand times the largest stable one ({how}).",
            found=found,
            how=how,
        )
    return msg(
        "{found}; the largest stable one is about {stable:.2g} ({how}).",
        found=found,
        stable=stable,
        how=how,
    )


def gradient_norm(check: Check) -> str | None:
    """One sentence on the gradient's norm, and what makes it what it is; None where it was not measured."""
    found = check.norm
    if found is None or not math.isfinite(found.norm):
        return None
    parts = [msg("Gradient norm {norm}", norm=size(found.norm))]
    if found.summed > 1:
        by = size(found.summed)
        parts.append(
            msg(
                "{mean} of the mean loss, {by} times by its sum over {by} elements",
                mean=size(found.mean),
                by=by,
            )
        )
    if found.pieces > 1:
        parts.append(
            msg(
                "up to {pieces} times that in a step, which adds up {pieces} losses",
                pieces=found.pieces,
            )
        )
    if found.scale != 1:
        parts.append(
            msg("{scale} times that until the loss scale is taken out", scale=size(found.scale))
        )
    if found.beyond:
        by = fold(found.beyond)
        above = msg("the growth to the input is {beyond} above what is expected", beyond=by)
        below = msg("the growth to the input is {beyond} below what is expected", beyond=by)
        parts.append(above if found.beyond > 0 else below)
    if len(check.probe.weights) > 1 and found.share > _MOST:
        parts.append(
            msg(
                "{share} of its square is that of {tensor}",
                share=percent(found.share),
                tensor=found.tensor,
            )
        )
    return msg("{parts}.", parts=joined(msg("; "), parts))


def causes(by_cause: dict[Cause, float]) -> list[tuple[str, float]]:
    """Causes and their log shares, largest first, without the negligible ones."""
    shown = [
        (cause(word), share) for word, share in by_cause.items() if not abs(share) < _NEGLIGIBLE
    ]
    return sorted(shown, key=lambda item: -math.inf if math.isnan(item[1]) else -abs(item[1]))


def marked(findings: Sequence[Finding]) -> frozenset[str]:
    """Layers that a finding or one of its echoes names."""
    own = {layer for finding in findings for layer in finding.layers}
    return frozenset(own.union(*(marked(finding.echoes) for finding in findings)))


def signed(log: float) -> str:
    """A natural log with its sign: "+0.35"."""
    return f"{log:+.2f}" if math.isfinite(log) else str(log)
