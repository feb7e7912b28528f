"""Evidence in, ranked findings out; the echoes of one cause folded into the finding that names it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

from evengrad.diagnosis.catalogue import all_fact_rules, all_rules, all_run_rules
from evengrad.diagnosis.evidence import evidence
from evengrad.errors import EvengradError
from evengrad.values.fact import Fact
from evengrad.values.finding import Cause, Finding, Severity, Symptom
from evengrad.values.message import msg
from evengrad.values.probe import Frontend, Probe
from evengrad.values.run import Run

_UPSTREAM = (
    Cause.BAD_BATCH,
    Cause.INPUT_DATA,
    Cause.LOSS_HEAD,
    Cause.PRECISION,
    Cause.INITIALISATION,
    Cause.ACTIVATION,
    Cause.NORMALISATION,
    Cause.ARCHITECTURE,
    Cause.LEARNING_RATE,
)
"""What is to be fixed first: a cause can only be judged when those before it are out of the way."""


def diagnose(measured: Run | Probe) -> tuple[Finding, ...]:
    """Diagnose a run that was loaded, or a probe.

    Args:
        measured: ``evengrad.load(folder)``, also while that training goes on, or ``evengrad.check(...).probe``.

    Returns:
        The findings, most important first, the echoes of a cause folded into the finding that names it (its
        ``echoes``). Empty where nothing is wrong.

    Raises:
        EvengradError: it is neither.
    """
    if isinstance(measured, Run):
        return diagnose_run(measured)
    if isinstance(measured, Probe):
        return diagnose_probe(measured)
    raise EvengradError(
        msg(
            "Expected a Run (evengrad.load) or a Probe (evengrad.check(...).probe), got {kind}.",
            kind=type(measured).__name__,
        )
    )


def diagnose_probe(probe: Probe, *, still: bool = False) -> tuple[Finding, ...]:
    """The findings of every rule, ranked and folded. still: a run from there is known, and its loss does not
    fall.
    """
    seen = evidence(probe, still=still)
    found = [finding for rule in all_rules() for finding in rule.check(seen)]
    return fold([*found, *_of_facts(probe.facts, probe.frontend, found)])


def diagnose_run(run: Run) -> tuple[Finding, ...]:
    """The findings of every rule of a watched training, ranked and folded; also while it goes on."""
    rules = all_run_rules() if len(run.steps["step"]) else ()  # a training of nothing has no steps
    found = [finding for rule in rules for finding in rule.check(run)]
    return fold([*found, *_of_facts(run.facts, run.subject.frontend, found)])


def _of_facts(
    facts: Sequence[Fact], frontend: Frontend, measured: Sequence[Finding]
) -> Iterator[Finding]:
    for rule in all_fact_rules():
        own = [fact for fact in facts if fact.kind == rule.fact]
        if own and rule.beside(measured):
            yield from rule.check(own, frontend)


def fold(found: list[Finding]) -> tuple[Finding, ...]:
    """Rank findings, and fold each one that another explains into that one; beside a mistake that is an
    error, all that was measured folds into it.
    """
    ranked = sorted(found, key=_rank)
    causes = {finding.cause for finding in ranked if not finding.explained_by}
    roots = [f for f in ranked if not causes.intersection(f.explained_by)]
    mistakes = [f for f in roots if f.mistake and f.severity is Severity.ERROR]
    roots = [f for f in roots if f.mistake] if mistakes else roots
    roots = [f for f in roots if not _born_of(f, mistakes)]
    echoes: dict[int, list[Finding]] = {index: [] for index in range(len(roots))}
    for finding in ranked:
        if finding in roots:
            continue
        home = next(
            (
                index
                for index, root in enumerate(roots)
                if not root.explained_by and root.cause in finding.explained_by
            ),
            0,  # a mistake
        )
        echoes[home].append(finding)
    folded = [_with_echoes(root, tuple(echoes[index])) for index, root in enumerate(roots)]
    return tuple(sorted(folded, key=_rank))


def _born_of(finding: Finding, mistakes: Sequence[Finding]) -> bool:
    """Whether it is of a NaN that was born in a line with a mistake that explains it, or behind steps that
    throw the weights.
    """
    place = finding.where
    if finding.symptom is not Symptom.NOT_FINITE:
        return False
    if any(m.symptom is Symptom.DIVERGING and m.cause is Cause.LEARNING_RATE for m in mistakes):
        return True
    if place is None:
        return False
    lines = [m.where for m in mistakes if m.symptom is not Symptom.NOT_FINITE and m.where]
    return any((place.file, place.line) == (line.file, line.line) for line in lines)


def upstream(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """In the order in which they are to be fixed."""
    return tuple(sorted(findings, key=lambda finding: _UPSTREAM.index(finding.cause)))


def _with_echoes(root: Finding, echoes: tuple[Finding, ...]) -> Finding:
    severity = max([root.severity, *(echo.severity for echo in echoes)])
    return replace(root, severity=severity, echoes=echoes)


def _rank(finding: Finding) -> tuple[int, bool, int, str]:
    return (
        -finding.severity,
        not finding.mistake,
        _UPSTREAM.index(finding.cause),
        finding.code,
    )
