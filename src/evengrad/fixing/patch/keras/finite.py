"""Keras: inputs and targets that are finite, where the model is given them."""

from __future__ import annotations

import libcst as cst

from evengrad.fixing.patch.keras.head import root_classes
from evengrad.fixing.patch.script import arguments, python
from evengrad.fixing.patch.script.draft import Manual, SourceDraft
from evengrad.fixing.patch.script.first_line import first

_COMPARES = frozenset({"fit", "train_on_batch", "evaluate"})
_TRAINS = _COMPARES | {"predict"}


def finite_inputs(draft: SourceDraft) -> None:
    """First thing in the model's ``call``; else in front of what trains, for each of its inputs by name."""
    classes = root_classes(draft.source)
    if len(classes) == 1:
        function = draft.spell("keras.ops.nan_to_num")
        code = f"{function}({{0}}, posinf=0.0, neginf=0.0)"
        first(draft, python.method(classes[0], "call"), lambda n: f"{n} = {code.format(n)}")
        return
    _where_given(draft, _TRAINS, 0)


def finite_targets(draft: SourceDraft) -> None:
    """In front of what trains, for the targets of each by name."""
    _where_given(draft, _COMPARES, 1)


def _where_given(draft: SourceDraft, words: frozenset[str], place: int) -> None:
    """place: 0 for inputs, 1 for targets."""
    source = draft.source
    calls = [call for call in source.all(cst.Call) if _word(call) in words and call.args]
    if not any(_word(call) in {"fit", "train_on_batch"} for call in calls):
        raise Manual()
    for call in calls:
        for node in _given(call, place):
            draft.need("import numpy as np")
            draft.replace(node, f"np.nan_to_num({source.code(node)}, posinf=0.0, neginf=0.0)")


def _word(call: cst.Call) -> str:
    return call.func.attr.value if isinstance(call.func, cst.Attribute) else ""


def _given(call: cst.Call, place: int) -> list[cst.BaseExpression]:
    """Raises Manual where they may be no arrays: what has no targets beside it may be a dataset."""
    both = arguments.value(call, "x", 0), arguments.value(call, "y", 1)
    x, fits = both[place], _word(call) in {"fit", "train_on_batch"}
    if x is None or arguments.unpacked(call) or (fits and None in both):
        raise Manual(call, "before")
    if not isinstance(x, cst.Name | cst.Attribute | cst.Subscript | cst.Call):
        raise Manual(call, "before")
    found: list[cst.BaseExpression] = [x]
    held = arguments.value(call, "validation_data")
    if isinstance(held, cst.Tuple):
        found.append(held.elements[place].value)
    elif held is not None:
        raise Manual(call, "before")
    return found
