"""The rules: one file each, found by being there.

A rule is a module with CODE, SICK and HEALTHY (networks that it must and must not fire on),
check(evidence) and a docstring that ``evengrad explain CODE`` prints. Its first line is its title.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cache

from evengrad.diagnosis.evidence import Evidence
from evengrad.diagnosis.examples.network import NetworkCase
from evengrad.values.finding import Finding


@dataclass(frozen=True, slots=True)
class Rule:
    """A rule module, read."""

    code: str
    name: str
    explanation: str
    sick: tuple[NetworkCase, ...]
    healthy: tuple[NetworkCase, ...]
    check: Callable[[Evidence], Iterable[Finding]]


@cache
def all_rules() -> tuple[Rule, ...]:
    """Every rule in this folder, in the order of their codes."""
    modules = [
        importlib.import_module(f"{__name__}.{info.name}")
        for info in pkgutil.iter_modules(__path__)
    ]
    rules = [
        Rule(m.CODE, m.__name__.rpartition(".")[2], m.__doc__ or "", m.SICK, m.HEALTHY, m.check)
        for m in modules
    ]
    return tuple(sorted(rules, key=lambda rule: rule.code))


def explanation(code: str) -> str:
    """The explanation of a rule; KeyError if there is no such code."""
    for rule in all_rules():
        if rule.code == code.upper():
            return rule.explanation.strip()
    raise KeyError(code)
