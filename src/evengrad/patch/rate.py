"""Another learning rate: at the optimizer, or where its value comes from."""

from __future__ import annotations

from collections.abc import Sequence

import libcst as cst

from evengrad.change import Rate
from evengrad.patch import arguments, keras_optimizers, torch_optimizers
from evengrad.patch.draft import Draft, Manual
from evengrad.patch.numbers import number
from evengrad.patch.origin import origin
from evengrad.patch.source import Source

_ABSOLUTE = {"OneCycleLR", "CyclicLR", "LearningRateScheduler"}
_STARTS = {
    "CosineDecay",
    "ExponentialDecay",
    "PolynomialDecay",
    "InverseTimeDecay",
    "CosineDecayRestarts",
}


def torch(draft: Draft, change: Rate) -> None:
    """``lr=`` of the optimizer."""
    source = draft.source
    refuse_absolute(source)
    made = torch_optimizers.optimizers(source)
    rates = [arguments.value(call, "lr", 1) for call in made]
    if not _together(draft, rates, change.value):
        set_torch(draft, torch_optimizers.single(source), change.value)


def keras(draft: Draft, change: Rate) -> None:
    """``learning_rate=`` of the optimizer."""
    source = draft.source
    refuse_absolute(source)
    made = keras_optimizers.optimizers(source)
    rates = [
        arguments.value(site, "learning_rate", 0) for site in made if isinstance(site, cst.Call)
    ]
    if len(rates) == len(made) and _together(draft, rates, change.value):
        return
    keras_optimizers.single(source)
    for site in made:
        set_keras(draft, site, change.value)


def set_torch(draft: Draft, call: cst.Call, rate: float, drop: Sequence[cst.Arg] = ()) -> None:
    """The rate of one torch optimizer. drop: arguments that go with it."""
    groups = arguments.value(call, "params", 0)
    if arguments.unpacked(call) or (groups is not None and '"lr"' in _double(draft.source, groups)):
        raise Manual(call)
    given = arguments.value(call, "lr", 1)
    put = {"lr": number(rate)}
    if given is not None and (source := origin(draft.source, [given])) is not None:
        draft.replace(source, number(rate))
        put = {}
    arguments.change(draft, call, put, drop=drop, positions={"lr": 1})


def set_keras(
    draft: Draft, site: keras_optimizers.Site, rate: float, drop: Sequence[cst.Arg] = ()
) -> None:
    """The rate of one Keras optimizer; where it is a schedule, what that starts from."""
    given = arguments.value(site, "learning_rate", 0) if isinstance(site, cst.Call) else None
    place = None if given is None else _start(draft.source, given)
    if place is None:
        keras_optimizers.put(draft, site, {"learning_rate": number(rate)}, drop)
        return
    draft.replace(place, number(rate))
    keras_optimizers.put(draft, site, {}, drop)


def refuse_absolute(source: Source) -> None:
    """Raises Manual where a schedule overwrites whatever rate the optimizer was given."""
    for call in source.all(cst.Call):
        if source.called(call).rpartition(".")[2] in _ABSOLUTE:
            raise Manual(call)


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


def _together(draft: Draft, rates: list[cst.BaseExpression | None], rate: float) -> bool:
    """Change the one place that several optimizers take their rate from."""
    given = [value for value in rates if value is not None]
    if len(given) < 2 or len(given) < len(rates) or len({draft.source.code(v) for v in given}) > 1:
        return False
    place = origin(draft.source, given)
    if place is not None:
        draft.replace(place, number(rate))
    return place is not None


def _double(source: Source, node: cst.CSTNode) -> str:
    return source.code(node).replace("'", '"')
