"""Evidence in, ranked findings out; the echoes of one cause folded into the finding that names it."""

from __future__ import annotations

from dataclasses import dataclass, replace

from evengrad.evidence import evidence
from evengrad.finding import Cause, Finding
from evengrad.probe import Probe
from evengrad.rules import all_rules
from evengrad.spec import Law, ModelSpec
from evengrad.theory.prediction import Prediction, predict

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
"""What is mended first: a cause can only be judged when those before it are out of the way."""


@dataclass(frozen=True, slots=True)
class Check:
    """The result of a check: what was measured, and what it means, most important first.

    prediction: what theory says of the same model, weights by their moments only; None where the model
    could not be described.
    """

    probe: Probe
    findings: tuple[Finding, ...]
    prediction: Prediction | None = None

    @property
    def healthy(self) -> bool:
        """Whether nothing was found."""
        return not self.findings


def diagnose(probe: Probe) -> Check:
    """Judge a probe by every rule, and hold it against its forecast."""
    prediction = None
    if probe.spec is not None:
        try:
            prediction = _predicted(probe, probe.spec)
        except Exception as error:  # the measured budget stands, whatever becomes of the forecast
            note = f"no forecast: {type(error).__name__} {error}"
            probe = replace(probe, notes=(*probe.notes, note))
    return Check(probe, judge(probe), prediction)


def judge(probe: Probe) -> tuple[Finding, ...]:
    """The findings of every rule, ranked and folded."""
    seen = evidence(probe)
    return fold([finding for rule in all_rules() for finding in rule.check(seen)])


def _predicted(probe: Probe, spec: ModelSpec) -> Prediction:
    """The forecast for inputs with the mean and rms of this batch."""
    inputs = zip(spec.inputs, probe.inputs, strict=False)
    laws = {i.tensor: Law(seen.value.mean, seen.value.rms) for i, seen in inputs if not i.integer}
    return predict(spec, laws)


def fold(found: list[Finding]) -> tuple[Finding, ...]:
    """Rank findings, and fold each one that another explains into that one."""
    ranked = sorted(found, key=_rank)
    causes = {finding.cause for finding in ranked if not finding.explained_by}
    roots = [f for f in ranked if not causes.intersection(f.explained_by)]
    echoes: dict[int, list[Finding]] = {index: [] for index in range(len(roots))}
    for finding in ranked:
        if finding in roots:
            continue
        home = next(
            index
            for index, root in enumerate(roots)
            if not root.explained_by and root.cause in finding.explained_by
        )
        echoes[home].append(finding)
    folded = [_with_echoes(root, tuple(echoes[index])) for index, root in enumerate(roots)]
    return tuple(sorted(folded, key=_rank))


def _with_echoes(root: Finding, echoes: tuple[Finding, ...]) -> Finding:
    severity = max([root.severity, *(echo.severity for echo in echoes)])
    return replace(root, severity=severity, echoes=echoes)


def _rank(finding: Finding) -> tuple[int, int, str]:
    return (-finding.severity, _UPSTREAM.index(finding.cause), finding.code)
