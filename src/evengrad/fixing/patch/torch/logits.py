"""PyTorch: a network that gives logits, and a loss that takes them."""

from __future__ import annotations

import libcst as cst

from evengrad.fixing.patch.script import arguments
from evengrad.fixing.patch.script.draft import Manual, SourceDraft
from evengrad.fixing.patch.script.source import Source
from evengrad.fixing.patch.torch.head import Closing, closing
from evengrad.fixing.patch.torch.modules import module

_MODULES = {"Softmax", "Softmax2d", "Sigmoid"}
_FUNCTIONS = {"softmax", "sigmoid"}
_LOSSES = {
    "torch.nn.NLLLoss": "torch.nn.CrossEntropyLoss",
    "torch.nn.BCELoss": "torch.nn.BCEWithLogitsLoss",
    "torch.nn.functional.nll_loss": "torch.nn.functional.cross_entropy",
    "torch.nn.functional.binary_cross_entropy": (
        "torch.nn.functional.binary_cross_entropy_with_logits"
    ),
}


def use_logits(draft: SourceDraft, from_logits: bool) -> None:
    """Take the closing softmax or sigmoid away, or use the loss that contains it."""
    if from_logits:
        _loss(draft)
        return
    ends = [end for end in closing(draft.source) if _squashes(draft.source, end)]
    if not ends:
        raise Manual()
    for end in ends:
        _remove(draft, end)


def _loss(draft: SourceDraft) -> None:
    source = draft.source
    for node in source.expressions():
        name = source.name(node)
        if name in _LOSSES and not isinstance(source.parent(node), cst.ImportAlias | cst.Attribute):
            draft.replace(node, draft.spell(_LOSSES[name]))


def _squashes(source: Source, end: Closing) -> bool:
    if end.made is not None:
        return module(source, end.made) in _MODULES
    return end.call is not None and _function(source, end.call) in _FUNCTIONS


def _function(source: Source, call: cst.Call) -> str:
    package, _, name = source.called(call).rpartition(".")
    if package in {"torch", "torch.nn.functional"}:
        return name
    if module(source, call.func) in _MODULES:  # nn.Softmax(1)(x)
        return "softmax"
    func = call.func
    own = isinstance(func, cst.Attribute) and not source.name(func)
    return func.attr.value if own and isinstance(func, cst.Attribute) else ""


def _remove(draft: SourceDraft, end: Closing) -> None:
    source, made, call = draft.source, end.made, end.call
    above = None if made is None else source.parent(made)
    outer = None if above is None else source.parent(above)
    if isinstance(above, cst.Arg) and isinstance(outer, cst.Call):
        arguments.change(draft, outer, {}, drop=[above])
    elif call is None:
        raise Manual(made)
    else:
        method = source.called(call) == "" and not module(source, call.func) and made is None
        inner = call.func.value if method and isinstance(call.func, cst.Attribute) else None
        if inner is None and not call.args:
            raise Manual(call)
        draft.replace(call, source.code(inner or call.args[0].value))
