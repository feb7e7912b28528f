"""The article's remedies: five for explosion (its section 3.3), four for vanishing (its section 6)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from evengrad.fixing.changes.activation import Activation
from evengrad.fixing.changes.add_normalisation import AddNormalisation
from evengrad.fixing.changes.clip_gradients import ClipGradients
from evengrad.fixing.changes.decay import Decay
from evengrad.fixing.changes.initialise import Initialise
from evengrad.fixing.changes.pretrained import Pretrained
from evengrad.fixing.changes.use_optimizer import OptimizerName, UseOptimizer
from evengrad.fixing.lab.planted import Effect
from evengrad.fixing.lab.subject import LabSubject
from evengrad.theory.activations import named_moments
from evengrad.values.change import Change
from evengrad.values.message import msg

NO_CURE = msg("none")
_CLIP = 1.0
"""Of the gradients' norm: the bound that most scripts have."""
_SLOPE = 0.01
"""Of LeakyReLU, PyTorch's own."""


@dataclass(frozen=True, slots=True)
class Cure:
    """A remedy.

    Attributes:
        name: in the tables.
        title: one line, what is done.
        against: what the article has it for.
        make: the changes, given the training and the activation that it has; None where it does not fit.
    """

    name: str
    title: str
    against: tuple[Effect, ...]
    make: Callable[[LabSubject, str], tuple[Change, ...] | None]


def _nothing(_subject: LabSubject, _activation: str) -> tuple[Change, ...]:
    return ()


def _normalised(subject: LabSubject, _activation: str) -> tuple[Change, ...] | None:
    return (Initialise(subject.layers, "linear", 1.0),) if subject.layers else None


def _kaiming(subject: LabSubject, activation: str) -> tuple[Change, ...] | None:
    known = named_moments(activation)
    gain = 1.0 if known is None else known.gain
    if not subject.layers:
        return None
    hidden, last = subject.layers[:-1], subject.layers[-1:]
    changes = [Initialise(hidden, activation, float(f"{gain:.6g}"))] if hidden else []
    return (*changes, Initialise(last, "linear", 1.0))


def _leaky(subject: LabSubject, _activation: str) -> tuple[Change, ...] | None:
    if not subject.activation:
        return None
    return (Activation(subject.activation, "leaky_relu", _SLOPE),)


def _optimizer(name: OptimizerName) -> Callable[[LabSubject, str], tuple[Change, ...] | None]:
    def make(subject: LabSubject, _activation: str) -> tuple[Change, ...] | None:
        return None if subject.rate is None else (UseOptimizer(name, subject.rate),)

    return make


def _clip(_subject: LabSubject, _activation: str) -> tuple[Change, ...]:
    return (ClipGradients("norm", _CLIP),)


def _pretrained(subject: LabSubject, _activation: str) -> tuple[Change, ...] | None:
    return None if subject.pretrained is None else (Pretrained(subject.pretrained, 1.0),)


def _batch(subject: LabSubject, _activation: str) -> tuple[Change, ...] | None:
    hidden = subject.layers[:-1]
    return (AddNormalisation("batch", hidden),) if hidden else None


def _decay(subject: LabSubject, _activation: str) -> tuple[Change, ...]:
    return (Decay(subject.steps),)


CURES = (
    Cure(NO_CURE, msg("nothing"), (), _nothing),
    Cure(
        msg("small weights"),
        msg("small random weights, normalised: Var W = 1 / fan_in"),
        ("explosion",),
        _normalised,
    ),
    Cure(
        "leaky ReLU",
        msg("LeakyReLU({SLOPE:g}) in each hidden layer", SLOPE=_SLOPE),
        ("explosion",),
        _leaky,
    ),
    Cure("Adam", msg("Adam, at the same learning rate"), ("explosion",), _optimizer("adam")),
    Cure(
        "RMSprop",
        msg("RMSprop, at the same learning rate"),
        ("explosion", "vanishing"),
        _optimizer("rmsprop"),
    ),
    Cure(
        msg("clipping"),
        msg("gradients clipped to a norm of {CLIP:g}", CLIP=_CLIP),
        ("explosion",),
        _clip,
    ),
    Cure(msg("pretrained"), msg("weights trained on other digits"), ("explosion",), _pretrained),
    Cure(
        "Kaiming",
        msg("weights that preserve the variance under their activation (Xavier, Kaiming)"),
        ("vanishing",),
        _kaiming,
    ),
    Cure(
        msg("batch norm"),
        msg("a batch normalisation behind each hidden layer"),
        ("vanishing",),
        _batch,
    ),
    Cure(
        msg("rate decay"),
        msg("the learning rate falls to 0 as half a cosine"),
        ("vanishing",),
        _decay,
    ),
    Cure(
        "Adagrad", msg("Adagrad, at the same learning rate"), ("vanishing",), _optimizer("adagrad")
    ),
)
"""In the article's order."""
