"""The causes that the lab plants, in several strengths."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from evengrad.fixing.changes.activation import Activation
from evengrad.fixing.changes.scale_weights import ScaleWeights
from evengrad.fixing.changes.set_rate import SetRate
from evengrad.fixing.lab.subject import LabSubject
from evengrad.values.change import Change
from evengrad.values.message import msg

PlantedKind = Literal["none", "initialisation", "activation", "learning_rate", "loss_head"]
Effect = Literal["none", "explosion", "vanishing"]

NOTHING = msg("none")


@dataclass(frozen=True, slots=True)
class Planted:
    """A cause.

    Attributes:
        name: in the tables; it asks for it on the command line, too.
        kind: of cause.
        effect: what the article says that it leads to.
        strength: factor of the weights or of the rate; 1 where there is none.
        activation: instead of the network's own.
        article: arguments of the article's script alone, which has it as written.
    """

    name: str
    kind: PlantedKind
    effect: Effect
    strength: float = 1.0
    activation: str = ""
    article: tuple[str, ...] = ()

    def changes(self, subject: LabSubject) -> tuple[Change, ...]:
        """What plants it in a training."""
        if self.kind == "initialisation":
            return (ScaleWeights(self.strength),)
        if self.kind == "activation":
            return (Activation(subject.activation, self.activation),)
        if self.kind == "learning_rate" and subject.rate is not None:
            return (SetRate(float(f"{subject.rate * self.strength:.6g}")),)
        return ()

    def fits(self, subject: LabSubject) -> bool:
        """Whether it can be planted there."""
        if self.kind == "activation":
            return bool(subject.activation) and subject.activation != self.activation
        if self.kind == "learning_rate":
            return subject.rate is not None
        return self.kind != "loss_head" or subject.article


def _weights(factor: float) -> Planted:
    effect: Effect = "explosion" if factor > 1 else "vanishing"
    return Planted(msg("weights x{factor:g}", factor=factor), "initialisation", effect, factor)


def _rate(factor: float) -> Planted:
    effect: Effect = "explosion" if factor > 1 else "vanishing"
    return Planted(msg("rate x{factor:g}", factor=factor), "learning_rate", effect, factor)


def _activation(name: str, effect: Effect) -> Planted:
    return Planted(name, "activation", effect, activation=name)


CAUSES = (
    Planted(NOTHING, "none", "none"),
    *map(_weights, (10.0, 4.0, 2.0, 0.5, 0.25, 0.1)),
    _activation("sigmoid", "vanishing"),
    _activation("tanh", "none"),
    _activation(msg("linear"), "none"),
    *map(_rate, (100.0, 10.0, 0.01)),
    Planted(
        msg("as written"),
        "loss_head",
        "none",
        article=("--softmax", "--optimizer", "adam", "--rate", "0.001"),
    ),
    Planted(
        msg("without the softmax"),
        "loss_head",
        "none",
        article=("--optimizer", "adam", "--rate", "0.001"),
    ),
)
"""All of them; strengths are measured choices: the stronger one destroys the shallow network, too."""
