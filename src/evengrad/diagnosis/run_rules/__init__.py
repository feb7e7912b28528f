"""The rules for a watched training: one file each, found by being there.

A rule is a module with CODE, SICK and HEALTHY (scenarios that it must and must not fire on),
check(run) and a docstring that ``evengrad explain CODE`` prints. Its first line is its title.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cache

from evengrad.diagnosis.examples.scenario import Scenario
from evengrad.values.finding import Finding
from evengrad.values.run import Run


@dataclass(frozen=True, slots=True)
class RunRule:
    """A rule module, read."""

    code: str
    name: str
    explanation: str
    sick: tuple[Scenario, ...]
    healthy: tuple[Scenario, ...]
    check: Callable[[Run], Iterable[Finding]]


@cache
def all_run_rules() -> tuple[RunRule, ...]:
    """Every rule in this folder, in the order of their codes."""
    modules = [
        importlib.import_module(f"{__name__}.{info.name}")
        for info in pkgutil.iter_modules(__path__)
    ]
    rules = [
        RunRule(m.CODE, m.__name__.rpartition(".")[2], m.__doc__ or "", m.SICK, m.HEALTHY, m.check)
        for m in modules
    ]
    return tuple(sorted(rules, key=lambda rule: rule.code))


def run_explanation(code: str) -> str:
    """The explanation of a run's rule; KeyError if there is no such code."""
    for rule in all_run_rules():
        if rule.code == code.upper():
            return rule.explanation.strip()
    raise KeyError(code)
