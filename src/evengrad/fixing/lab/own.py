"""A script of the user's own as the lab's subject: what is to be known of it is measured."""

from __future__ import annotations

from collections import Counter
from concurrent.futures import Executor
from pathlib import Path

from evengrad.errors import ScriptError
from evengrad.fixing.case import Case
from evengrad.fixing.lab.grid import LabPlan
from evengrad.fixing.lab.subject import LabSubject
from evengrad.fixing.outcome import FixPlan
from evengrad.fixing.sight import look
from evengrad.fixing.trials import Silent, Trials
from evengrad.theory.activations import canonical
from evengrad.values.message import msg
from evengrad.values.spec import Kind

_CLOSING = ("softmax", "log_softmax", "logsoftmax")


def subject(plan: LabPlan, executor: Executor) -> LabSubject:
    """By a trial of it as it is, and a probe of its first step.

    Raises:
        ScriptError: it does not train.
    """
    assert plan.script is not None
    asked = FixPlan(
        plan.script,
        arguments=plan.arguments,
        module=plan.module,
        steps=plan.steps,
        folder=plan.folder,
    )
    trials = Trials(asked, executor, Silent())
    first = trials.one(None, 0)
    if first.result.end in ("failed", "unseen", "internal"):
        said = first.result.message.strip().split("\n", 1)[0]
        raise ScriptError(msg("{script} does not train: {said}", script=plan.script, said=said))
    return of_case(plan, look(asked, first, trials.folder).case(asked))


def of_case(plan: LabPlan, case: Case) -> LabSubject:
    """From what is known of it."""
    assert plan.script is not None
    weights = None if plan.pretrained is None else str(Path(plan.pretrained).resolve())
    return LabSubject(
        name=Path(plan.script).name,
        target=plan.script,
        arguments=plan.arguments,
        steps=plan.steps,
        layers=case.weighted,
        activation=_hidden(case),
        rate=case.rate,
        pretrained=weights,
        module=plan.module,
        frontend="keras" if case.frontend == "keras" else "torch",
    )


def _hidden(case: Case) -> str:
    """The activation that most hidden layers have."""
    operations = () if case.probe is None else case.probe.operations
    found = Counter(canonical(o.type) for o in operations if o.kind is Kind.ACTIVATION)
    for name in _CLOSING:
        found.pop(name, None)
    return found.most_common(1)[0][0] if found else ""
