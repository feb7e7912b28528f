"""Keras: inputs that are finite, where the model is given them."""

from __future__ import annotations

import libcst as cst

from evengrad.change import Finite
from evengrad.patch import arguments, torch_modules
from evengrad.patch.draft import Draft, Manual
from evengrad.patch.inputs import first
from evengrad.patch.keras_head import root_classes

_TRAINS = {"fit", "train_on_batch", "evaluate", "predict"}


def keras(draft: Draft, _change: Finite) -> None:
    """First thing in the model's ``call``; else in front of what trains, for each of its inputs by name."""
    source, classes = draft.source, root_classes(draft.source)
    if len(classes) == 1:
        function = draft.spell("keras.ops.nan_to_num")
        code = f"{function}({{0}}, posinf=0.0, neginf=0.0)"
        first(draft, torch_modules.method(classes[0], "call"), lambda n: f"{n} = {code.format(n)}")
        return
    calls = [call for call in source.all(cst.Call) if _trains(call)]
    if not any(_word(call) in {"fit", "train_on_batch"} for call in calls):
        raise Manual()
    for call in calls:
        for node in _inputs(call):
            draft.need("import numpy as np")
            draft.replace(node, f"np.nan_to_num({source.code(node)}, posinf=0.0, neginf=0.0)")


def _word(call: cst.Call) -> str:
    return call.func.attr.value if isinstance(call.func, cst.Attribute) else ""


def _trains(call: cst.Call) -> bool:
    return _word(call) in _TRAINS and bool(call.args)


def _inputs(call: cst.Call) -> list[cst.BaseExpression]:
    """Raises Manual where they may be no arrays: what has no targets beside it may be a dataset."""
    x = arguments.value(call, "x", 0)
    fits = _word(call) in {"fit", "train_on_batch"}
    if x is None or arguments.unpacked(call) or (fits and arguments.value(call, "y", 1) is None):
        raise Manual(call, "before")
    if not isinstance(x, cst.Name | cst.Attribute | cst.Subscript | cst.Call):
        raise Manual(call, "before")
    found: list[cst.BaseExpression] = [x]
    held = arguments.value(call, "validation_data")
    if isinstance(held, cst.Tuple):
        found.append(held.elements[0].value)
    elif held is not None:
        raise Manual(call, "before")
    return found
