"""Another learning rate: at the optimizer, or where its value comes from."""

from __future__ import annotations

from collections.abc import Sequence

import libcst as cst

from evengrad.fixing.patch.keras import optimizers
from evengrad.fixing.patch.script import arguments
from evengrad.fixing.patch.script.draft import Manual, SourceDraft
from evengrad.fixing.patch.script.schedules import _together, refuse_absolute
from evengrad.fixing.patch.script.setting import origin
from evengrad.fixing.patch.script.source import Source
from evengrad.fixing.wording import number

_STARTS = {
    "CosineDecay",
    "ExponentialDecay",
    "PolynomialDecay",
    "InverseTimeDecay",
    "CosineDecayRestarts",
}


def set_rate(draft: SourceDraft, rate: float) -> None:
    """``learning_rate=`` of the optimizer."""
    source = draft.source
    refuse_absolute(source)
    made = optimizers.optimizers(source)
    rates = [
        arguments.value(site, "learning_rate", 0) for site in made if isinstance(site, cst.Call)
    ]
    if len(rates) == len(made) and _together(draft, rates, rate):
        return
    optimizers.single(source)
    for site in made:
        set_keras(draft, site, rate)


def set_keras(
    draft: SourceDraft, site: optimizers.Site, rate: float, drop: Sequence[cst.Arg] = ()
) -> None:
    """The rate of one Keras optimizer; where it is a schedule, what that starts from."""
    given = arguments.value(site, "learning_rate", 0) if isinstance(site, cst.Call) else None
    place = None if given is None else _start(draft.source, given)
    if place is None:
        optimizers.put(draft, site, {"learning_rate": number(rate)}, drop)
        return
    draft.replace(place, number(rate))
    optimizers.put(draft, site, {}, drop)


def _start(source: Source, given: cst.BaseExpression) -> cst.BaseExpression | None:
    """The number that a rate comes from, where it is not written at the optimizer itself."""
    schedule = given
    if isinstance(given, cst.Name) and len(bound := source.definitions(given)) == 1:
        schedule = bound[0].value or given
    module, _, name = source.called(schedule).rpartition(".")
    if not module.startswith("keras.optimizers.schedules"):
        return origin(source, [given])
    if not isinstance(schedule, cst.Call) or name not in _STARTS:
        raise Manual(schedule)
    first = arguments.value(schedule, "initial_learning_rate", 0)
    if first is None or arguments.value(schedule, "warmup_target") is not None:
        raise Manual(schedule)
    return origin(source, [first]) or first
