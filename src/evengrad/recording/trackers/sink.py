"""What a tracker takes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class FindingText:
    """A finding in words.

    Attributes:
        code: such as "EG801".
        severity: "error", "warning" or "info".
        title: one line.
        text: all of it, a line each.
    """

    code: str
    severity: str
    title: str
    text: str


class Sink(Protocol):
    """One run at a tracker. A method that raises is the last one that is called."""

    def figures(self, step: int, values: Mapping[str, float]) -> None:
        """Figures of a step by name; NaN is data."""

    def event(self, step: int, kind: str, text: str) -> None:
        """Something that happened."""

    def close(self, findings: Sequence[FindingText], status: str) -> None:
        """The run is over."""
