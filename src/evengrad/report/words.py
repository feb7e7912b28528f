"""The wording that text and HTML share: factors, layer lists, the verdict."""

from __future__ import annotations

import math
from collections.abc import Sequence

from evengrad.budget import Budget
from evengrad.diagnose import Check
from evengrad.finding import Cause, Finding, Severity

EVEN = math.log(2.0)
"""Growth below a factor of two in either direction reads as "even"; wording only, no rule."""

_NEGLIGIBLE = 0.01


def factor(log_ratio: float) -> str:
    """A natural log ratio as a factor: "x3.2e+06", "x0.85", "x0", "not finite"."""
    if math.isnan(log_ratio) or log_ratio == math.inf:
        return "not finite"
    if log_ratio == -math.inf:
        return "x0"
    exponent = log_ratio / math.log(10)
    if abs(exponent) > 300:
        return f"x10^{exponent:.0f}"
    value = 10**exponent
    return f"x{value:.3g}" if 1e-3 <= value < 1e4 else f"x{value:.1e}"


def fold(log_ratio: float) -> str:
    """The size of a change whatever its direction: "3.2e+06-fold"."""
    return f"{factor(abs(log_ratio))[1:]}-fold"


def number(value: float | None) -> str:
    """A figure for a table; an en dash where there is none."""
    if value is None:
        return "–"
    if math.isnan(value) or math.isinf(value):
        return str(value)
    return f"{value:.3g}"


def percent(share: float) -> str:
    """A share of 0 to 1; never rounds a few to none, or all but a few to all."""
    if 0 < share < 0.01:
        return "<1%"
    return ">99%" if 0.99 < share < 1 else f"{share:.0%}"


def cause(word: Cause) -> str:
    """A cause for people: "learning rate"."""
    return word.value.replace("_", " ")


def severity(level: Severity) -> str:
    """The word for a severity: error or warning."""
    return level.name.lower()


def layers(names: Sequence[str]) -> str:
    """Layer names; more than three as "hidden3 ... hidden20 (18)"."""
    if len(names) <= 3:
        return ", ".join(names)
    return f"{names[0]} ... {names[-1]} ({len(names)})"


def growth(split: Budget) -> str:
    """One sentence on the total."""
    total = split.total
    if not split.profile:
        return "No gradient passes any operation between input and output."
    if math.isnan(total) or total == math.inf:
        return "The gradient is not finite somewhere between output and input."
    if total == -math.inf:
        return "No gradient reaches the input."
    if abs(total) < EVEN:
        return f"The gradient stays even: {factor(total)} from output to input."
    verb = "grows" if total > 0 else "shrinks"
    return f"The gradient {verb} {fold(total)} from output to input."


def verdict(check: Check) -> str:
    """Healthy, or how many findings of which severity."""
    if check.healthy:
        return "Healthy: nothing found"
    counts = {level: sum(f.severity is level for f in check.findings) for level in Severity}
    parts = [
        f"{count} {severity(level)}{'s' if count > 1 else ''}"
        for level, count in sorted(counts.items(), reverse=True)
        if count
    ]
    return "Not healthy: " + ", ".join(parts)


def setting(check: Check) -> tuple[str, ...]:
    """What was checked: framework, model, loss, optimizer, batch."""
    probe = check.probe
    parts = [", ".join(probe.versions) or probe.frontend, probe.model]
    if probe.frontend == "keras" and not any(probe.backend in v for v in probe.versions):
        parts[0] += f" on {probe.backend}"
    penalty = f" + {number(probe.loss.penalty)} penalty" if probe.loss.penalty else ""
    parts.append(f"{probe.loss.name} = {number(probe.loss.value)}{penalty}")
    if probe.optimizer is not None:
        rate = probe.optimizer.learning_rate
        at = "" if rate is None else f", learning rate {rate:g}"
        parts.append(probe.optimizer.name + at)
    parts.append(f"batch of {probe.batch_size}")
    return tuple(parts)


def causes(by_cause: dict[Cause, float]) -> list[tuple[str, float]]:
    """Causes and their log shares, largest first, without the negligible ones."""
    told = [
        (cause(word), share) for word, share in by_cause.items() if not abs(share) < _NEGLIGIBLE
    ]
    return sorted(told, key=lambda item: -math.inf if math.isnan(item[1]) else -abs(item[1]))


def marked(findings: Sequence[Finding]) -> frozenset[str]:
    """Layers that a finding or one of its echoes names."""
    own = {layer for finding in findings for layer in finding.layers}
    return frozenset(own.union(*(marked(finding.echoes) for finding in findings)))


def signed(log: float) -> str:
    """A natural log with its sign: "+0.35"."""
    return f"{log:+.2f}" if math.isfinite(log) else str(log)
