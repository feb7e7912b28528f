"""Rates that a script writes in one place, and schedules that overwrite them."""

from __future__ import annotations

import libcst as cst

from evengrad.fixing.patch.script.draft import Manual, SourceDraft
from evengrad.fixing.patch.script.setting import origin
from evengrad.fixing.patch.script.source import Source
from evengrad.fixing.wording import number

_ABSOLUTE = {"OneCycleLR", "CyclicLR", "LearningRateScheduler"}


def refuse_absolute(source: Source) -> None:
    """Raises Manual where a schedule overwrites whatever rate the optimizer was given."""
    for call in source.all(cst.Call):
        if source.called(call).rpartition(".")[2] in _ABSOLUTE:
            raise Manual(call)


def _together(draft: SourceDraft, rates: list[cst.BaseExpression | None], rate: float) -> bool:
    """Change the one place that several optimizers take their rate from."""
    given = [value for value in rates if value is not None]
    if len(given) < 2 or len(given) < len(rates) or len({draft.source.code(v) for v in given}) > 1:
        return False
    place = origin(draft.source, given)
    if place is not None:
        draft.replace(place, number(rate))
    return place is not None
