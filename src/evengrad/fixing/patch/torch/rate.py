"""Another learning rate: at the optimizer, or where its value comes from."""

from __future__ import annotations

from collections.abc import Sequence

import libcst as cst

from evengrad.fixing.patch.script import arguments
from evengrad.fixing.patch.script.draft import Manual, SourceDraft
from evengrad.fixing.patch.script.schedules import _together, refuse_absolute
from evengrad.fixing.patch.script.setting import origin
from evengrad.fixing.patch.script.source import Source
from evengrad.fixing.patch.torch import optimizers
from evengrad.fixing.wording import number


def set_rate(draft: SourceDraft, rate: float) -> None:
    """``lr=`` of the optimizer."""
    source = draft.source
    refuse_absolute(source)
    made = optimizers.optimizers(source)
    rates = [arguments.value(call, "lr", 1) for call in made]
    if not _together(draft, rates, rate):
        set_torch(draft, optimizers.single(source), rate)


def set_torch(
    draft: SourceDraft, call: cst.Call, rate: float, drop: Sequence[cst.Arg] = ()
) -> None:
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


def _double(source: Source, node: cst.CSTNode) -> str:
    return source.code(node).replace("'", '"')
