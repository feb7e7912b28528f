"""Keras: layers whose outputs are multiplied, in the place of the activation that they lack."""

from __future__ import annotations

from collections.abc import Sequence

from evengrad.fixing.patch.keras.activation import given_activation
from evengrad.fixing.patch.keras.initialise import KERNEL
from evengrad.fixing.patch.keras.layers import kind, place, sites
from evengrad.fixing.patch.script import arguments
from evengrad.fixing.patch.script.define import define
from evengrad.fixing.patch.script.draft import Manual, SourceDraft

_NAME = "scale_branch"


def scale_outputs(draft: SourceDraft, layers: Sequence[str], factor: float) -> None:
    """Define ``scale_branch`` and give it to the layers as their activation."""
    source = draft.source
    found, missing = sites(source, layers)
    if missing:
        draft.left.append(Manual(place(source, missing), layers=missing))
    scaled = []
    for call, same in found:
        given = given_activation(source, call)
        linear = given is None or source.code(given.value).strip("'\"") in {"linear", "None"}
        if kind(source, call) not in KERNEL or arguments.unpacked(call) or not linear:
            draft.left.append(Manual(call, layers=same))
            continue
        if given is not None:
            draft.replace(given.value, _NAME)
        else:
            arguments.append(draft, call, [f"activation={_NAME}"])
        scaled.append(call)
    if scaled:
        define(draft, min(scaled, key=source.start), _code(draft, factor))


def _code(draft: SourceDraft, factor: float) -> str:
    register = draft.spell("keras.saving.register_keras_serializable")
    return f'''
@{register}()
def {_NAME}(x):
    """Scales what the last layer of a residual branch gives, before it is added."""
    return {factor:.4g} * x
'''
