"""What the lab experiments on: the article's network at some depth, or a script of the user's own."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

Framework = Literal["torch", "keras"]


@dataclass(frozen=True, slots=True)
class LabSubject:
    """A training.

    Attributes:
        name: in the tables.
        target: the script's path.
        arguments: its ``sys.argv[1:]``.
        steps: updates that it makes, or that a trial makes of it.
        layers: with weight matrices, forward order.
        activation: of the hidden layers; empty where none is known.
        rate: the learning rate; None where it is not known.
        convolutions: how many; None for a script of the user's own.
        pretrained: a file of weights that fit; None where there is none.
        module: whether the target is a module's name.
        frontend: whose vocabulary the script uses.
    """

    name: str
    target: str
    arguments: tuple[str, ...]
    steps: int
    layers: tuple[str, ...]
    activation: str
    rate: float | None
    convolutions: int | None = None
    pretrained: str | None = None
    module: bool = False
    frontend: Framework = "torch"

    @property
    def article(self) -> bool:
        """Whether it is the article's."""
        return self.convolutions is not None

    def source(self) -> str:
        """The script's text; empty for a module, whose name must do."""
        return "" if self.module else Path(self.target).read_text(encoding="utf-8")
