"""PyTorch: a function in the user's script that changes modules by their names, behind what makes the model."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import libcst as cst

from evengrad.fixing.patch.script.draft import Manual, SourceDraft
from evengrad.fixing.patch.torch.initialise import anchor
from evengrad.fixing.patch.torch.modules import Modules, modules
from evengrad.fixing.patch.torch.optimizers import optimizers, trained


class NamedLayers(NamedTuple):
    """Weighted layers of one model. model: as the script calls it. place: the statement behind which it can
    be changed.
    """

    model: str
    place: cst.CSTNode
    names: list[str]
    known: Modules


def named_layers(draft: SourceDraft, layers: Sequence[str]) -> Iterator[NamedLayers]:
    """These layers by the model that has them. Raises Manual where one is in none, or where its model is made
    behind its optimizer.
    """
    source, left = draft.source, set(layers)
    for prefix, model in trained(source).items():
        known = modules(source, model)
        weighted = known.weighted(source)
        own = [layer.removeprefix(prefix) for layer in layers if layer.startswith(prefix)]
        names = [n for n in own if n in weighted or (known.opaque and n not in known.sites)]
        if names:
            yield NamedLayers(source.code(model), _place(draft, model), names, known)
        left -= {prefix + name for name in names}
    if left:
        raise Manual(optimizers(source)[0], "before")


def _place(draft: SourceDraft, model: cst.BaseExpression) -> cst.CSTNode:
    source, place = draft.source, anchor(draft.source, model)
    inside = source.around(place, cst.FunctionDef)
    for made in optimizers(source):
        same = source.around(made, cst.FunctionDef) is inside
        if same and source.start(place) > source.start(made):
            raise Manual(made, "before")
    return place
