"""PyTorch: normalisations behind layers, by a function that the script gets.

Its hooks leave the model's modules, their names and its ``forward`` as they are, so that one form serves all
ways in which layers are made and called.
"""

from __future__ import annotations

from collections.abc import Sequence

from evengrad.fixing.patch.script.define import define
from evengrad.fixing.patch.script.draft import SourceDraft
from evengrad.fixing.patch.script.names import listed
from evengrad.fixing.patch.torch.helper import named_layers
from evengrad.fixing.patch.torch.modules import module

_NAME = "add_normalisation"
_RANKS = {"Linear": 0, "Conv1d": 1, "Conv2d": 2, "Conv3d": 3}


def normalise(draft: SourceDraft, kind: str, layers: Sequence[str]) -> None:
    """Define ``add_normalisation`` and call it on the model."""
    found = list(named_layers(draft, layers))
    kinds = {module(draft.source, own.known.sites.get(n)) for own in found for n in own.names}
    for own in found:
        draft.after(own.place, [f"{_NAME}({own.model}, {listed(draft, own.names)})"])
    body = [f"size = {_size(draft, kinds)}", *_norm(draft, kind, kinds)]
    lines = "\n".join(f"        {line}" for line in body)
    code = f'''
def {_NAME}(model, layers):
    """Puts a {kind} normalisation behind each of these layers, before its activation."""
    for name in layers:
        layer = model.get_submodule(name)
{lines}
        layer.normalisation = norm.to(layer.weight.device, layer.weight.dtype)
        layer.register_forward_hook(normalised)


def normalised(layer, inputs, output):
    return layer.normalisation(output)
'''
    define(draft, min((own.place for own in found), key=draft.source.start), code)


def _size(draft: SourceDraft, kinds: set[str]) -> str:
    if kinds == {"Linear"}:
        return "layer.out_features"
    if all(kind.startswith("Conv") for kind in kinds):
        return "layer.out_channels"
    return f"getattr(layer, {draft.quoted('out_channels')}, None) or layer.out_features"


def _norm(draft: SourceDraft, kind: str, kinds: set[str]) -> list[str]:
    """Statements that make ``norm``, of a size. kinds: of the layers; "" for what is not known."""
    group = draft.spell("torch.nn.GroupNorm")
    if kind == "group":
        groups = "max(n for n in range(1, max(1, size // 8) + 1) if size % n == 0)"
        return [f"groups = {groups}", f"norm = {group}(groups, size)"]
    classes = [draft.spell(f"torch.nn.BatchNorm{n}d") for n in (1, 1, 2, 3)]
    every = f"norms = {', '.join(classes)}", "norm = norms[layer.weight.ndim - 2](size)"
    if kind == "layer":
        flat, deep = f"{draft.spell('torch.nn.LayerNorm')}(size)", f"{group}(1, size)"
        if kinds == {"Linear"}:
            return [f"norm = {flat}"]
        known = kinds <= {"Conv1d", "Conv2d", "Conv3d"}
        return [
            f"norm = {deep}" if known else f"norm = {flat} if layer.weight.ndim == 2 else {deep}"
        ]
    ranks = {_RANKS.get(layer) for layer in kinds}
    rank = ranks.pop() if len(ranks) == 1 else None
    return [*every] if rank is None else [f"norm = {classes[rank]}(size)"]
