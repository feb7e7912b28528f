"""Figures of the corpus, as tables."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from bench.fixes.calls import Outcome
from bench.fixes.specs import CAUSES, Spec


@dataclass(frozen=True, slots=True)
class Case:
    """A sick training, and what each search made of it, by its name. recipe: what that scores."""

    spec: Spec
    outcomes: dict[str, Outcome]
    recipe: float


def named(case: Case) -> bool:
    """Whether the first finding names the planted cause."""
    wanted = CAUSES[case.spec.plant or ""]
    return case.outcomes["diagnosis"].causes[:1] == (wanted.value,)


def among(case: Case) -> bool:
    """Whether any finding does."""
    return CAUSES[case.spec.plant or ""].value in case.outcomes["diagnosis"].causes


NEAR = 0.9
"""Of the recipe's accuracy, or variance explained, a repaired script comes to so much."""


def called(case: Case, search: str = "diagnosis") -> bool:
    """Whether fix says that it is fixed."""
    return case.outcomes[search].status == "fixed"


def repaired(case: Case, search: str = "diagnosis") -> bool:
    """Whether the script that was left trains as well as the recipe does, over its own length."""
    return called(case, search) and case.outcomes[search].score >= NEAR * case.recipe


def share(cases: Sequence[Case], holds: Callable[[Case], bool]) -> str:
    """Such as 93% (28/30)."""
    if not cases:
        return ""
    count = sum(holds(case) for case in cases)
    return f"{count / len(cases):.0%} ({count}/{len(cases)})"


def cost(cases: Sequence[Case], search: str = "diagnosis") -> str:
    """Median and quartiles over all cases, those that were not fixed too."""
    values = sorted(c.outcomes[search].cost for c in cases)
    if len(values) < 2:
        return "".join(f"{v:.1f}" for v in values)
    low, middle, high = statistics.quantiles(values, n=4, method="inclusive")
    return f"{middle:.1f} ({low:.1f} to {high:.1f})"


def by(cases: Iterable[Case], key: Callable[[Case], str]) -> dict[str, list[Case]]:
    """Groups, in the order in which they come."""
    found: dict[str, list[Case]] = {}
    for case in cases:
        found.setdefault(key(case), []).append(case)
    return found


def diagnosis(groups: dict[str, list[Case]]) -> list[str]:
    """A Markdown table: cause, repair and cost of each group."""
    lines = [
        "| | cause named first | among the findings | called fixed | repaired | with a patch | cost |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for name, cases in groups.items():
        written = [c for c in cases if called(c)]
        cells = [
            share(cases, named),
            share(cases, among),
            share(cases, called),
            share(cases, repaired),
            share(written, lambda c: not c.outcomes["diagnosis"].by_hand),
            cost(cases),
        ]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return lines


def searches(groups: dict[str, list[Case]]) -> list[str]:
    """A Markdown table: what each search repairs, and its cost, on the cases that all were given."""
    lines = [
        "| | diagnosis | cost | random | cost | warm-up only | cost |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for name, cases in groups.items():
        whole = [c for c in cases if len(c.outcomes) == 3]
        cells = []
        for search in ("diagnosis", "random", "warm-up"):
            cells += [share(whole, lambda c, s=search: repaired(c, s)), cost(whole, search)]  # type: ignore[misc]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return lines
