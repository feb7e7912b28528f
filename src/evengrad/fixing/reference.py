"""The reference: the recipe that is known to train, which says what "well" is for this network and this data.

Variance-preserving weights for the activations that there are (Glorot 2010; He 2015, 1502.01852), normalised
inputs (LeCun 1998), Adam at 1e-3 (Kingma 2014, 1412.6980), a normalisation where the network is deep (Ioffe
2015, 1502.03167), and what the data and the loss need anyway.
"""

from __future__ import annotations

from collections.abc import Iterator

from evengrad.fixing.case import Candidate, Case
from evengrad.fixing.changes.add_normalisation import AddNormalisation
from evengrad.fixing.changes.initialise import Initialise
from evengrad.fixing.changes.inputs import StandardiseInputs
from evengrad.fixing.changes.use_optimizer import UseOptimizer
from evengrad.fixing.remedies import all_remedies, normalisation
from evengrad.values.change import Change, in_order
from evengrad.values.finding import Cause
from evengrad.values.message import msg

NAME = "reference"
RATE = 1e-3
_NEEDED = ("repair", "loss_head", "loss_scale", "skip")
"""Remedies whose first choice belongs to the recipe wherever they are proposed."""
_DEEP = 5  # hidden activations; a measured choice: shallower ones train without a normalisation
_USUAL_STD, _USUAL_MEAN = (
    (0.25, 4.0),
    1.0,
)  # of inputs: a measured choice, pixels of 0 to 1 are within
_INVASIVE = 9  # more than any remedy alone
_OPTIMIZER = 4  # as the remedy of that name


def references(case: Case) -> tuple[Candidate, ...]:
    """The recipe for this training, whole, and without the normalisation for where that does not fit; none
    where there is nothing to change, or nothing is known of the network.
    """
    if case.probe is None:
        return ()
    plain = [*_needed(case), *_inputs(case), *_weights(case), *_optimizer(case)]
    whole = [*plain, *_normalisation(case)]
    return tuple(_recipe(tuple(changes)) for changes in _different(whole, plain) if changes)


def optimizer_alone(case: Case) -> Candidate | None:
    """Of the recipe its optimizer only; None where the training has that."""
    changes = tuple(_optimizer(case))
    if not changes:
        return None
    words = msg("Adam at {RATE:g}", RATE=RATE)
    return Candidate("optimizer", changes, Cause.LEARNING_RATE, _OPTIMIZER, words)


def _recipe(changes: tuple[Change, ...]) -> Candidate:
    return Candidate(
        NAME,
        in_order(changes),
        Cause.ARCHITECTURE,
        _INVASIVE,
        msg(
            "the standard recipe (variance-preserving weights, normalised inputs, Adam at 0.001, "
            "a normalisation where it is deep)"
        ),
    )


def _different(whole: list[Change], plain: list[Change]) -> list[list[Change]]:
    return [whole] if whole == plain else [whole, plain]


def _needed(case: Case) -> Iterator[Change]:
    for remedy in all_remedies():
        if remedy.name in _NEEDED:
            for candidate in list(remedy.propose(case))[:1]:
                if candidate.alternative == 0:
                    yield from candidate.changes


def _inputs(case: Case) -> Iterator[Change]:
    """Normalised, where the only input is one of numbers and not within the usual range."""
    assert case.probe is not None
    if len(case.probe.inputs) != 1 or case.probe.inputs[0].port is None:
        return
    value = case.probe.inputs[0].value
    low, high = _USUAL_STD
    if value.std > 0 and not (low <= value.std <= high and abs(value.mean) <= _USUAL_MEAN):
        yield StandardiseInputs(float(f"{value.mean:.3g}"), float(f"{value.std:.3g}"))


def _weights(case: Case) -> Iterator[Change]:
    if any(not even.kept for even in case.even):
        for even in case.even:
            yield Initialise(even.layers, even.activation, even.gain)


def _optimizer(case: Case) -> Iterator[Change]:
    rate = case.rate
    usual = case.optimizer == "adam" and rate is not None and abs(rate / RATE - 1) < 0.05
    if not usual:
        yield UseOptimizer("adam", RATE)


def _normalisation(case: Case) -> Iterator[Change]:
    hidden = case.weighted[:-1]
    if (
        case.depth < _DEEP
        or case.normalised
        or case.branches
        or len(hidden) > normalisation.DEEPEST
    ):
        return
    yield AddNormalisation(normalisation.kind(case), hidden)
