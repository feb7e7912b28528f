"""A deviation or a rate that the network gives, by a softplus: a ReLU gives 0, and there no gradient."""

from __future__ import annotations

from collections.abc import Iterator

import libcst as cst

from evengrad.fixing.patch.script import arguments
from evengrad.fixing.patch.script.draft import SourceDraft
from evengrad.fixing.patch.script.expressions import last
from evengrad.fixing.patch.script.source import Source
from evengrad.values.fact import Fact
from evengrad.values.message import msg

FACT = "born"
_OPERATIONS = {"divide", "log", "sqrt", "rsqrt", "pow"}
_FUNCTIONS = {"torch.relu": "torch.nn.functional.softplus"}
_FUNCTIONS |= {"torch.nn.functional.relu": "torch.nn.functional.softplus"}
_FEW = {"1", "2"}
"""Units of a layer that gives a figure of its own, and no features."""


def repair(source: Source, fact: Fact) -> Iterator[tuple[str, SourceDraft]]:
    """Where a layer of one or two units ends with a ReLU, and 0 is what was divided by or taken a root of."""
    values = fact.values
    if values.get("operation") not in _OPERATIONS or values.get("low") != 0:
        return
    draft = SourceDraft(source)
    for call in source.all(cst.Call):
        given = arguments.value(call, "activation")
        small = last(source, call) == "Dense" and call.args and _is_few(source, call.args[0].value)
        if small and given is not None and source.code(given).strip("\"'").endswith("relu"):
            draft.replace(given, draft.quoted("softplus"))
        elif source.called(call) in _FUNCTIONS and _is_head(source, call):
            draft.replace(call.func, draft.spell(_FUNCTIONS[source.called(call)]))
        elif source.called(call) == "torch.nn.Sequential":
            _closing(source, draft, call)
    if draft.edits:
        yield msg("softplus in the place of the ReLU that gives 0"), draft


def _is_few(source: Source, node: cst.BaseExpression) -> bool:
    return source.code(node) in _FEW


def _is_head(source: Source, call: cst.Call) -> bool:
    """``torch.relu(self.scale(h))``, of a layer with few outputs."""
    inner = call.args[0].value if call.args else None
    bound = source.definitions(inner.func) if isinstance(inner, cst.Call) else []
    made = bound[0].value if len(bound) == 1 else None
    return isinstance(made, cst.Call) and _gives_few(source, made)


def _gives_few(source: Source, made: cst.Call) -> bool:
    linear = source.called(made) == "torch.nn.Linear" and len(made.args) > 1
    return linear and _is_few(source, made.args[1].value)


def _closing(source: Source, draft: SourceDraft, call: cst.Call) -> None:
    """``nn.Sequential(..., nn.Linear(32, 1), nn.ReLU())``."""
    layers = [arg.value for arg in call.args]
    if len(layers) < 2 or source.called(layers[-1]) != "torch.nn.ReLU":
        return
    if isinstance(layers[-2], cst.Call) and _gives_few(source, layers[-2]):
        draft.replace(layers[-1], f"{draft.spell('torch.nn.Softplus')}()")
