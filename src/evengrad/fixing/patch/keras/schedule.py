"""Keras: a schedule as the optimizer's learning rate."""

from __future__ import annotations

import libcst as cst

from evengrad.fixing.patch.keras import optimizers
from evengrad.fixing.patch.script import arguments
from evengrad.fixing.patch.script.draft import Manual, SourceDraft
from evengrad.fixing.patch.script.schedules import refuse_absolute
from evengrad.fixing.patch.script.source import Source
from evengrad.fixing.wording import number

_SCHEDULES = "keras.optimizers.schedules"
_SETS_RATE = {"ReduceLROnPlateau", "LearningRateScheduler"}
_USUAL = {"SGD": 0.01}
_OTHERS = 0.001


def warmup(draft: SourceDraft, steps: int) -> None:
    """``PolynomialDecay`` from a small rate up to the script's; a cosine starts with it itself."""
    site, given = _site(draft.source)
    if steps < 2:
        raise Manual(site)
    if isinstance(given, cst.Call) and draft.source.called(given) == f"{_SCHEDULES}.CosineDecay":
        _before_cosine(draft, given, steps)
        return
    rate = _rate(draft, site, given)
    end = f"decay_steps={steps - 1}, end_learning_rate={rate}"
    _put(draft, site, f"PolynomialDecay({_divided(rate, steps)}, {end})")


def decay(draft: SourceDraft, steps: int) -> None:
    """``CosineDecay`` from the script's rate to zero."""
    site, given = _site(draft.source)
    _put(draft, site, f"CosineDecay({_rate(draft, site, given)}, decay_steps={steps})")


def _site(source: Source) -> tuple[optimizers.Site, cst.BaseExpression | None]:
    """The optimizer, and what it has for a rate."""
    refuse_absolute(source)
    for call in source.all(cst.Call):
        if source.called(call).rpartition(".")[2] in _SETS_RATE:
            raise Manual(call)
    site = optimizers.single(source)
    given = arguments.value(site, "learning_rate", 0) if isinstance(site, cst.Call) else None
    return site, given


def _rate(draft: SourceDraft, site: optimizers.Site, given: cst.BaseExpression | None) -> str:
    """The script's rate as code; the optimizer's usual one, if none is given."""
    if given is None:
        return repr(_USUAL.get(optimizers.kind(draft.source, site), _OTHERS))
    if not isinstance(given, cst.Float | cst.Integer | cst.Name | cst.Attribute):
        raise Manual(site)
    if any(isinstance(bound.value, cst.Call) for bound in draft.source.definitions(given)):
        raise Manual(site)  # it may be a schedule already
    return draft.source.code(given)


def _divided(rate: str, steps: int) -> str:
    try:
        return number(float(rate) / steps)
    except ValueError:
        return f"{rate} / {steps}"


def _put(draft: SourceDraft, site: optimizers.Site, schedule: str) -> None:
    code = draft.spell(f"{_SCHEDULES}.{schedule.partition('(')[0]}")
    optimizers.put(draft, site, {"learning_rate": f"{code}({schedule.partition('(')[2]}"})


def _before_cosine(draft: SourceDraft, cosine: cst.Call, steps: int) -> None:
    first = arguments.value(cosine, "initial_learning_rate", 0)
    length = arguments.value(cosine, "decay_steps", 1)
    if first is None or not isinstance(length, cst.Integer) or int(length.value) <= steps:
        raise Manual(cosine)
    if arguments.value(cosine, "warmup_target") is not None:
        raise Manual(cosine)
    rate = draft.source.code(first)
    put = {
        "initial_learning_rate": _divided(rate, steps),
        "decay_steps": str(int(length.value) - (steps - 1)),
        "warmup_target": rate,
        "warmup_steps": str(steps - 1),
    }
    arguments.change(draft, cosine, put, positions={"initial_learning_rate": 0, "decay_steps": 1})
