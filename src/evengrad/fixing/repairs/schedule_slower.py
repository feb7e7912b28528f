"""A schedule whose length is counted in batches, where it steps with every one."""

from __future__ import annotations

import math
from collections.abc import Iterator

import libcst as cst

from evengrad.fixing.patch.script import arguments
from evengrad.fixing.patch.script.draft import SourceDraft
from evengrad.fixing.patch.script.source import Source
from evengrad.values.fact import Fact
from evengrad.values.message import msg

FACT = "rate_gone"
_LENGTHS = {
    "StepLR": "step_size",
    "MultiStepLR": "milestones",
    "CosineAnnealingLR": "T_max",
    "CosineAnnealingWarmRestarts": "T_0",
    "ExponentialLR": "gamma",
    "LinearLR": "total_iters",
    "PolynomialLR": "total_iters",
    "ExponentialDecay": "decay_steps",
    "InverseTimeDecay": "decay_steps",
    "PolynomialDecay": "decay_steps",
    "CosineDecay": "decay_steps",
}
_POSITIONS = {"total_iters": {"LinearLR": 3}}
_LATER = 5  # times as late as the last step that was seen: a choice; at that step a third is left


def repair(source: Source, fact: Fact) -> Iterator[tuple[str, SourceDraft]]:
    """So many times as long that the rate is gone at the end only."""
    since, steps = fact.values.get("since", 0), fact.values.get("steps", 0)
    if fact.values.get("zero") or not 0 < since < steps:
        return
    times = math.ceil(_LATER * steps / since)
    for call in source.all(cst.Call):
        kind = source.called(call).rpartition(".")[2]
        name = _LENGTHS.get(kind)
        if name is None:
            continue
        position = _POSITIONS.get(name, {}).get(kind, 1)
        given = arguments.value(call, name, position)
        written = None if given is None else _longer(source, name, given, times)
        if given is not None and written is not None:
            draft = SourceDraft(source)
            draft.replace(given, written)
            words = msg(
                "{kind}'s {name}, {code}, becomes {written}: it steps with every batch",
                kind=kind,
                name=name,
                code=source.code(given),
                written=written,
            )
            yield words, draft


def _longer(source: Source, name: str, given: cst.BaseExpression, times: int) -> str | None:
    """As a number where it is one; a factor of each step as its root."""
    if name == "gamma":
        if not isinstance(given, cst.Float) or not 0 < float(given.value) < 1:
            return None
        return f"{float(given.value) ** (1 / times):.6g}"
    if isinstance(given, cst.List | cst.Tuple):
        parts = [_longer(source, "", element.value, times) for element in given.elements]
        return None if None in parts else f"[{', '.join(map(str, parts))}]"
    if isinstance(given, cst.Integer):
        return str(int(given.value) * times)
    simple = isinstance(given, cst.Name | cst.Attribute | cst.Call)
    return f"{times} * {source.code(given)}" if simple else None
