"""Each optimizer stepped behind the backward pass of its own loss."""

from __future__ import annotations

import re
from collections.abc import Iterator

import libcst as cst

from evengrad.fixing.patch.script.draft import Manual, SourceDraft
from evengrad.fixing.patch.script.expressions import last
from evengrad.fixing.patch.script.moving import cut_line
from evengrad.fixing.patch.script.source import Source
from evengrad.fixing.patch.torch import optimizers
from evengrad.values.fact import Fact
from evengrad.values.message import msg

FACT = "losses_crossed"


def repair(source: Source, fact: Fact) -> Iterator[tuple[str, SourceDraft]]:
    """Two that hold each other's weights get their own; else zero_grad and step go to the loss's backward."""
    optimizer = str(fact.values.get("optimizer"))
    for other in _beside(source, optimizer):
        yield from _swapped(source, optimizer, other)
    yield from _moved(source, optimizer, str(fact.values.get("wiped") or ""))


def _beside(source: Source, optimizer: str) -> list[str]:
    """The other one, of two."""
    try:
        made = [_target(source, call) for call in optimizers.optimizers(source)]
    except Manual:
        return []
    return [name for name in made if name != optimizer] if len(made) == 2 else []


def _swapped(source: Source, one: str, other: str) -> Iterator[tuple[str, SourceDraft]]:
    try:
        made = {_target(source, call): call for call in optimizers.optimizers(source)}
    except Manual:
        return
    first, second = (_given(made[name]) if name in made else None for name in (one, other))
    if first is not None and second is not None:
        draft = SourceDraft(source)
        draft.replace(first, source.code(second))
        draft.replace(second, source.code(first))
        yield (
            msg("{one} and {other} hold the weights of their own losses", one=one, other=other),
            draft,
        )


def _target(source: Source, call: cst.Call) -> str:
    found = optimizers.target(source, call)
    return "" if found is None else source.code(found)


def _given(call: cst.Call) -> cst.BaseExpression | None:
    """The parameters that it was given."""
    named = [arg for arg in call.args if arg.keyword is not None and arg.keyword.value == "params"]
    return (named or list(call.args))[0].value if call.args else None


def _moved(source: Source, optimizer: str, wiped: str) -> Iterator[tuple[str, SourceDraft]]:
    """zero_grad() before the backward pass that reaches its weights, step() behind it."""
    line = re.search(r":(\d+)(?:: |$)", wiped)
    backwards = [
        call
        for call in source.all(cst.Call)
        if last(source, call) == "backward" and line and source.line(call) == int(line[1])
    ]
    own = [c for c in source.all(cst.Call) if _calls(source, c, optimizer)]
    if len(backwards) != 1 or not any(last(source, call) == "step" for call in own):
        return
    draft = SourceDraft(source)
    for call in own:
        cut_line(draft, call)
    draft.before(backwards[0], [f"{optimizer}.zero_grad()"])
    draft.after(backwards[0], [f"{optimizer}.step()"])
    yield (
        msg("{optimizer} steps behind the backward pass of its own loss", optimizer=optimizer),
        draft,
    )


def _calls(source: Source, call: cst.Call, optimizer: str) -> bool:
    return source.code(call.func) in {f"{optimizer}.zero_grad", f"{optimizer}.step"}
