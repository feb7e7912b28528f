"""Moving statistics that follow a run of this length, or that are updated at all."""

from __future__ import annotations

from collections.abc import Iterator

import libcst as cst

from evengrad.fixing.patch.script import arguments
from evengrad.fixing.patch.script.draft import SourceDraft
from evengrad.fixing.patch.script.expressions import last
from evengrad.fixing.patch.script.source import Source
from evengrad.fixing.repairs import training_call
from evengrad.values.fact import Fact
from evengrad.values.message import msg

FACT = "evaluation_apart"
_MOVES = {"keras": 0.9, "torch": 0.1}
"""What is kept of the old (Keras), or taken of the new (PyTorch): some 50 steps are enough."""
_PLACE = {"keras": 1, "torch": 2}


def repair(source: Source, fact: Fact) -> Iterator[tuple[str, SourceDraft]]:
    """Another momentum in each batch normalisation that is slow; ``training=True`` where it is forgotten."""
    yield from _faster(source)
    yield from training_call.repair(source, fact)


def _faster(source: Source) -> Iterator[tuple[str, SourceDraft]]:
    draft = SourceDraft(source)
    number = ""
    for call in source.all(cst.Call):
        name = last(source, call)
        kind = "keras" if name == "BatchNormalization" else "torch"
        if kind == "torch" and not name.startswith(("BatchNorm", "SyncBatchNorm")):
            continue
        number = f"{_MOVES[kind]:g}"
        if _is_slow(source, call, kind):
            arguments.change(
                draft, call, {"momentum": number}, positions={"momentum": _PLACE[kind]}
            )
    if draft.edits:
        yield (
            msg("moving statistics follow within this run: momentum={number}", number=number),
            draft,
        )


def _is_slow(source: Source, call: cst.Call, kind: str) -> bool:
    given = arguments.value(call, "momentum", _PLACE[kind])
    if given is None:
        return kind == "keras"  # 0.99 takes some 500 steps
    try:
        momentum = float(source.code(given))
    except ValueError:
        return source.code(given) != "None"  # a name of the script's; None is the mean of all
    return momentum > _MOVES[kind] if kind == "keras" else momentum < _MOVES[kind]
