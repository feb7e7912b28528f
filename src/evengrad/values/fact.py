"""A fact of a script's training loop: what was seen to happen in it, and at which line of the script."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Where:
    """A place in the user's own source.

    Attributes:
        file: as the user knows it, relative to the working folder where it lies in it.
        line: from 1.
        code: the expression or the line itself, stripped; empty where it is not known.
    """

    file: str
    line: int
    code: str = ""

    def __str__(self) -> str:
        """As a traceback would give it, with the code."""
        return f"{self.file}:{self.line}" + (f": {self.code}" if self.code else "")


@dataclass(frozen=True, slots=True)
class Fact:
    """Something that an adapter saw and that a rule in ``diagnosis/fact_rules`` judges.

    Attributes:
        kind: the rule's own word for it, its ``FACT``, such as "gradients_kept".
        where: the user's line; None where it is not known.
        step: 0-based; None where it is of no single step.
        values: figures and names by name, as JSON has them.
    """

    kind: str
    where: Where | None = None
    step: int | None = None
    values: Mapping[str, Any] = field(default_factory=dict)

    def to_values(self) -> dict[str, Any]:
        """As JSON has it; ``from_values`` reads it."""
        return asdict(self) | {"values": dict(self.values)}

    @classmethod
    def from_values(cls, values: Mapping[str, Any]) -> Fact:
        """What ``to_values`` gave."""
        where = values["where"]
        place = None if where is None else Where(**where)
        return cls(values["kind"], place, values["step"], values["values"])
