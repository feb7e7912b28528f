"""The rules, found by being there: ``rules/`` judge a probe, ``run_rules/`` a watched training, ``fact_rules/``
what was seen of the script's own loop, in a check or in a run.

A rule is one file with CODE, SICK and HEALTHY (what it must and must not fire on), check(evidence),
check(run) or check(facts, frontend), and a docstring that ``evengrad explain CODE`` prints. Its first line is
its title. One for facts also has FACT, the kind that it judges, and may have beside(measured):
whether it says anything beside the findings of the other rules.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from types import ModuleType
from typing import Any, Generic, TypeVar

from evengrad.diagnosis.evidence import Evidence
from evengrad.diagnosis.examples.network import NetworkCase
from evengrad.diagnosis.examples.program import Program
from evengrad.diagnosis.examples.scenario import Scenario
from evengrad.errors import DefinitionError
from evengrad.values.discovery import expect, modules
from evengrad.values.fact import Fact
from evengrad.values.finding import Finding
from evengrad.values.probe import Frontend
from evengrad.values.run import Run

Judged = TypeVar("Judged")
Example = TypeVar("Example")


@dataclass(frozen=True, slots=True)
class Rule(Generic[Judged, Example]):
    """A rule's file, read. name: the file's. explanation: its docstring."""

    code: str
    name: str
    explanation: str
    sick: tuple[Example, ...]
    healthy: tuple[Example, ...]
    check: Callable[[Judged], Iterable[Finding]]


@dataclass(frozen=True, slots=True)
class FactRule:
    """A fact rule's file, read. fact: the kind of facts that it judges; all of them are given to it at once.
    beside: whether it is to judge them, given what was measured; without one always.
    """

    code: str
    name: str
    explanation: str
    sick: tuple[Program, ...]
    healthy: tuple[Program, ...]
    fact: str
    check: Callable[[Sequence[Fact], Frontend], Iterable[Finding]]
    beside: Callable[[Sequence[Finding]], bool] = lambda measured: True  # noqa: ARG005


@cache
def all_rules() -> tuple[Rule[Evidence, NetworkCase], ...]:
    """The rules for a probe, in the order of their codes. Raises DefinitionError on a file that is none."""
    return _rules("evengrad.diagnosis.rules", NetworkCase)


@cache
def all_run_rules() -> tuple[Rule[Run, Scenario], ...]:
    """The rules for a run, in the order of their codes. Raises DefinitionError on a file that is none."""
    return _rules("evengrad.diagnosis.run_rules", Scenario)


@cache
def all_fact_rules() -> tuple[FactRule, ...]:
    """The rules for facts, in the order of their codes. Raises DefinitionError on a file that is none."""
    found = []
    for module in modules("evengrad.diagnosis.fact_rules"):
        rule = _read(module, Program)
        expect(module.__file__, module, "a fact rule", FACT=str)
        found.append(
            FactRule(
                rule.code,
                rule.name,
                rule.explanation,
                rule.sick,
                rule.healthy,
                module.FACT,
                module.check,
                *([module.beside] if hasattr(module, "beside") else []),
            )
        )
    return tuple(sorted(found, key=lambda rule: (rule.code, rule.name)))


@cache
def explanations() -> dict[str, str]:
    """What each finding means, by its code.

    Raises:
        DefinitionError: a file is no rule, or two have the same code.
    """
    every: tuple[Rule[Any, Any] | FactRule, ...]
    every = (*all_rules(), *all_run_rules(), *all_fact_rules())
    found: dict[str, Rule[Any, Any] | FactRule] = {}
    for rule in every:
        if rule.code in found:
            raise DefinitionError(
                f"Two rules have the code {rule.code}: {found[rule.code].name}.py and {rule.name}.py. A new "
                "rule needs a code that was never used before."
            )
        found[rule.code] = rule
    return {code: rule.explanation for code, rule in found.items()}


def paragraphs(explanation: str) -> list[str]:
    """Each in one line: the entries of the catalogue of translations."""
    return [" ".join(paragraph.split()) for paragraph in explanation.split("\n\n")]


def _rules(package: str, example: type[Any]) -> tuple[Rule[Any, Any], ...]:
    return tuple(
        sorted(
            (_read(m, example) for m in modules(package)), key=lambda rule: (rule.code, rule.name)
        )
    )


def _read(module: ModuleType, example: type[Any]) -> Rule[Any, Any]:
    file = module.__file__
    expect(file, module, "a rule", CODE=str, SICK=tuple, HEALTHY=tuple, check=Callable)
    text = str(module.__doc__).strip()
    if not re.fullmatch(r"EG\d{3}", module.CODE) or not text.startswith(module.CODE):
        raise DefinitionError(
            f"{file}: a rule needs a CODE such as EG101, with which its docstring begins; CODE is "
            f"{module.CODE!r}, the docstring begins {text.splitlines()[0]!r}."
        )
    for one in (*module.SICK, *module.HEALTHY):
        if not isinstance(one, example):
            raise DefinitionError(
                f"{file}: SICK and HEALTHY need examples of type {example.__name__} "
                f"({example.__module__}), got {type(one).__name__}."
            )
    name = module.__name__.rpartition(".")[2]
    return Rule(module.CODE, name, text, module.SICK, module.HEALTHY, module.check)
