"""A sigmoid for a softmax over one unit, and the loss that belongs to it."""

from __future__ import annotations

from collections.abc import Iterator

import libcst as cst

from evengrad.fixing.patch.keras import head as keras_head
from evengrad.fixing.patch.keras.activation import activation, given_activation
from evengrad.fixing.patch.keras.optimizers import compiles
from evengrad.fixing.patch.script import arguments
from evengrad.fixing.patch.script.draft import Manual, SourceDraft
from evengrad.fixing.patch.script.source import Source
from evengrad.fixing.patch.torch import head as torch_head
from evengrad.values.fact import Fact
from evengrad.values.message import msg

FACT = "one_unit_softmax"
_BINARY = {
    "categorical_crossentropy": "binary_crossentropy",
    "sparse_categorical_crossentropy": "binary_crossentropy",
    "CategoricalCrossentropy": "BinaryCrossentropy",
    "SparseCategoricalCrossentropy": "BinaryCrossentropy",
}


def repair(source: Source, fact: Fact) -> Iterator[tuple[str, SourceDraft]]:
    """In the network's last layer."""
    for write in (_keras, _torch, _logits):
        draft = SourceDraft(source)
        try:
            write(draft)
        except Manual:
            continue
        if draft.edits:
            yield msg("a sigmoid for the softmax over one unit, which is always 1"), draft


def _keras(draft: SourceDraft) -> None:
    source = draft.source
    for call in keras_head.closing(source):
        given = given_activation(source, call)
        if given is not None and activation(source, given.value) == "softmax":
            draft.replace(given.value, draft.quoted("sigmoid"))
        elif activation(source, call.func) == "softmax":
            draft.replace(call.func, draft.spell("keras.activations.sigmoid"))
    for call in compiles(source):
        loss = arguments.value(call, "loss", 1)
        word = str(loss.evaluated_value) if isinstance(loss, cst.SimpleString) else ""
        if loss is not None and word in _BINARY:
            draft.replace(loss, draft.quoted(_BINARY[word]))
    for call in source.all(cst.Call):
        package, _, name = source.called(call).rpartition(".")
        if package == "keras.losses" and name in _BINARY:
            draft.replace(call.func, draft.spell(f"keras.losses.{_BINARY[name]}"))


def _torch(draft: SourceDraft) -> None:
    source = draft.source
    for end in torch_head.closing(source):
        if end.made is not None and source.called(end.made).endswith(".Softmax"):
            draft.replace(end.made, f"{draft.spell('torch.nn.Sigmoid')}()")
        elif end.call is not None and _is_softmax(source, end.call):
            inner = end.call.func
            own = isinstance(inner, cst.Attribute) and not source.called(end.call)
            value = inner.value if own and isinstance(inner, cst.Attribute) else None
            value = value or end.call.args[0].value
            draft.replace(end.call, f"{draft.spell('torch.sigmoid')}({source.code(value)})")


def _is_softmax(source: Source, call: cst.Call) -> bool:
    return (source.called(call) or source.code(call.func)).rpartition(".")[2] == "softmax"


def _logits(draft: SourceDraft) -> None:
    """A cross-entropy over one logit becomes the binary one, which wants targets of the output's shape."""
    source = draft.source
    for call in source.all(cst.Call):
        name = source.called(call)
        if name == "torch.nn.functional.cross_entropy" and len(call.args) >= 2:
            output, target = (source.code(arg.value) for arg in call.args[:2])
            function = draft.spell("torch.nn.functional.binary_cross_entropy_with_logits")
            draft.replace(call, f"{function}({output}, {target}.float().reshape({output}.shape))")
