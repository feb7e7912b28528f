"""PyTorch: layers whose outputs are multiplied, by a function that the script gets (see ``normalise``)."""

from __future__ import annotations

from collections.abc import Sequence

from evengrad.fixing.patch.script.define import define
from evengrad.fixing.patch.script.draft import SourceDraft
from evengrad.fixing.patch.script.names import listed
from evengrad.fixing.patch.torch.helper import named_layers

_CODE = '''
def scale_branches(model, layers, factor):
    """Multiplies what these layers give, the last ones of residual branches, before it is added."""
    for name in layers:
        layer = model.get_submodule(name)
        layer.factor = factor
        layer.register_forward_hook(scaled)


def scaled(layer, inputs, output):
    return layer.factor * output
'''


def scale_outputs(draft: SourceDraft, layers: Sequence[str], factor: float) -> None:
    """Define ``scale_branches`` and call it on the model."""
    found = list(named_layers(draft, layers))
    for own in found:
        names = listed(draft, own.names)
        draft.after(own.place, [f"scale_branches({own.model}, {names}, {factor:.4g})"])
    define(draft, min((own.place for own in found), key=draft.source.start), _CODE)
