"""Gradients unscaled before they are clipped."""

from __future__ import annotations

from collections.abc import Iterator

import libcst as cst

from evengrad.fixing.patch.script.draft import Manual, SourceDraft
from evengrad.fixing.patch.script.expressions import at, last
from evengrad.fixing.patch.script.source import Source
from evengrad.fixing.patch.torch import optimizers
from evengrad.values.fact import Fact
from evengrad.values.message import msg

FACT = "clipped_scaled"


def repair(source: Source, fact: Fact) -> Iterator[tuple[str, SourceDraft]]:
    """``scaler.unscale_(optimizer)`` in front of the clip; one that comes too late goes."""
    try:
        made = optimizers.optimizers(source)
    except Manual:
        made = []
    steps = [step for step in optimizers.steps(source, made) if step.scaler is not None]
    clip = _clip(source, fact)
    if not steps or clip is None:
        return
    step = next((s for s in steps if source.start(s.call) > source.start(clip)), steps[0])
    draft = SourceDraft(source)
    draft.before(clip, [f"{step.scaler}.unscale_({step.optimizer})"])
    for call in source.all(cst.Call):
        late = source.start(clip) < source.start(call) < source.start(step.call)
        if last(source, call) == "unscale_" and late:
            draft.replace(call, "None")
    yield (
        msg(
            "{scaler}.unscale_({optimizer}) before the gradients are clipped",
            scaler=step.scaler,
            optimizer=step.optimizer,
        ),
        draft,
    )


def _clip(source: Source, fact: Fact) -> cst.CSTNode | None:
    """The clip, or the loop over the weights that does it."""
    known = [c for c in source.all(cst.Call) if last(source, c).startswith("clip_grad")]
    place = at(source, fact.where)
    if place is None or any(source.within(place, call) for call in known):
        return known[0] if known else None
    loop = source.around(place, cst.For)
    if loop is not None and "parameters" in source.code(loop.iter):
        return loop
    return known[0] if known else place
