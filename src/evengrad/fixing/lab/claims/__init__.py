"""The article's claims: one file each, found by being there.

A claim is a module: its docstring says in a title line what the article claims, then how that is
tested and what is known of it. ``SECTION`` is the article's, ``QUOTE`` its own words,
``judge(table)`` gives a ruling for each condition that was measured, and none where the cells at
hand cannot decide.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cache
from types import ModuleType
from typing import Literal

from evengrad.fixing.lab.cells import Table
from evengrad.fixing.lab.judging import Ruling
from evengrad.values.discovery import expect, modules

Standing = Literal["holds", "holds in part", "does not hold", "undecided", "not measured"]


@dataclass(frozen=True, slots=True)
class Claim:
    """What the article says.

    Attributes:
        name: of its file.
        section: of the article.
        quote: its own words.
        title: the same in English.
        tested: how it is tested.
        known: what the literature says.
        judge: the rulings of what was measured.
    """

    name: str
    section: str
    quote: str
    title: str
    tested: str
    known: str
    judge: Callable[[Table], Iterable[Ruling]]


@dataclass(frozen=True, slots=True)
class JudgedClaim:
    """A claim with its rulings."""

    claim: Claim
    rulings: tuple[Ruling, ...]

    @property
    def standing(self) -> Standing:
        """Over all conditions; those in which the seeds do not tell count for neither side."""
        answers = {ruling.answer for ruling in self.rulings}
        if not answers:
            return "not measured"
        if {"holds", "fails"} <= answers:
            return "holds in part"
        if "holds" in answers:
            return "holds"
        return "does not hold" if "fails" in answers else "undecided"

    def where(self, answer: str) -> tuple[str, ...]:
        """The conditions with this answer."""
        return tuple(r.condition for r in self.rulings if r.answer == answer)


@cache
def all_claims() -> tuple[Claim, ...]:
    """Every claim in this folder, in the article's order. Raises DefinitionError on a file that is none."""
    return tuple(sorted(map(_read, modules(__name__)), key=lambda c: (c.section, c.name)))


def judge_all(table: Table) -> tuple[JudgedClaim, ...]:
    """Each claim by what was measured."""
    return tuple(JudgedClaim(claim, tuple(claim.judge(table))) for claim in all_claims())


def _read(module: ModuleType) -> Claim:
    expect(module.__file__, module, "a claim", SECTION=str, QUOTE=str, judge=Callable)
    parts = [" ".join(part.split()) for part in (module.__doc__ or "").split("\n\n")]
    labelled = dict(part.split(": ", 1) for part in parts[1:])
    return Claim(
        name=module.__name__.rpartition(".")[2],
        section=module.SECTION,
        quote=module.QUOTE,
        title=parts[0].rstrip("."),
        tested=labelled.get("How it is tested", ""),
        known=labelled.get("What is known", ""),
        judge=module.judge,
    )
