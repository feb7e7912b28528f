"""Several trainings of one script: which of them is the worst, and where each one's files go."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from evengrad.values.finding import Finding


def by_weight(found: Sequence[Sequence[Finding]]) -> list[int]:
    """The place of each, from 1, the one with the worst first finding first."""

    def weight(index: int) -> tuple[int, bool]:
        findings = found[index]
        return (-findings[0].severity, not findings[0].mistake) if findings else (0, True)

    order = sorted(range(len(found)), key=weight)
    return [order.index(index) + 1 for index in range(len(found))]


def numbered(path: Path | None, number: int) -> Path | None:
    """The first one's as it was asked for; the others' beside it."""
    if path is None or number == 1:
        return path
    return path.with_stem(f"{path.stem}-{number}")
