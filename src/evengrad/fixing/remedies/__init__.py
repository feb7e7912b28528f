"""The remedies: one file each, found by being there.

A remedy is a module with propose(case), which gives candidates where it can help, and a docstring that says
what it treats, why, and who found it. Its first line is its title.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cache
from itertools import groupby
from types import ModuleType

from evengrad.fixing.case import Candidate, Case
from evengrad.fixing.foreseen import by_forecast
from evengrad.values.discovery import expect, modules


@dataclass(frozen=True, slots=True)
class Remedy:
    """A remedy module, read."""

    name: str
    title: str
    explanation: str
    propose: Callable[[Case], Iterable[Candidate]]


@cache
def all_remedies() -> tuple[Remedy, ...]:
    """Every remedy in this folder, by name. Raises DefinitionError on a file that is none."""
    return tuple(map(_read, modules(__name__)))


def _read(module: ModuleType) -> Remedy:
    expect(module.__file__, module, "a remedy", propose=Callable)
    text = str(module.__doc__).strip()
    return Remedy(module.__name__.rpartition(".")[2], text.split("\n", 1)[0], text, module.propose)


def candidates(case: Case, only: Iterable[str] = ()) -> tuple[Candidate, ...]:
    """What all remedies propose for a case: first choices before alternatives, then those for its most
    important cause, then the least invasive; of equals that with which the network's forecast is most even.
    only: names of the remedies to ask; all by default.
    """
    asked = set(only)
    found = [
        candidate
        for remedy in all_remedies()
        if not asked or remedy.name in asked
        for candidate in remedy.propose(case)
    ]
    ranks = {cause: rank for rank, cause in enumerate(case.causes)}

    def place(candidate: Candidate) -> tuple[int, int, int]:
        rank = ranks.get(candidate.cause, len(ranks))
        return candidate.alternative, rank, candidate.invasiveness

    found.sort(key=place)
    return tuple(
        one for _, equal in groupby(found, place) for one in by_forecast(case, tuple(equal))
    )
