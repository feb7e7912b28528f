"""Targets of mean 0 and deviation 1 for the loss that drowns the others."""

from __future__ import annotations

from collections.abc import Iterator

import libcst as cst

from evengrad.fixing.patch.keras.optimizers import compiles
from evengrad.fixing.patch.script import arguments
from evengrad.fixing.patch.script.draft import SourceDraft
from evengrad.fixing.patch.script.expressions import at, last
from evengrad.fixing.patch.script.origin import origin
from evengrad.fixing.patch.script.source import Source
from evengrad.values.fact import Fact
from evengrad.values.message import msg

FACT = "output_dominates"
_SQUARED = {"mse", "mean_squared_error", "MeanSquaredError", "mae", "mean_absolute_error", "Huber"}


def repair(source: Source, fact: Fact) -> Iterator[tuple[str, SourceDraft]]:
    """Scaled where the script makes them; its predictions are in deviations then, too."""
    seen: set[str] = set()
    for given in (*_in_loss(source, fact), *_fitted(source)):
        found = origin(source, given)
        if found is None or found[0] in seen:
            continue
        name, statement = found
        seen.add(name)
        draft = SourceDraft(source)
        draft.after(statement, [f"{name} = ({name} - {name}.mean()) / {name}.std()"])
        yield msg("{name} has mean 0 and deviation 1", name=name), draft


def _in_loss(source: Source, fact: Fact) -> Iterator[cst.BaseExpression]:
    """What the loss at that line compares with; torch's functions take the targets last, Keras' first."""
    node = at(source, fact.where)
    if isinstance(node, cst.Call) and len(node.args) >= 2:
        yield node.args[1].value
        yield node.args[0].value


def _fitted(source: Source) -> Iterator[cst.BaseExpression]:
    """The targets that are given to ``fit``; those first whose loss is one of measured values."""
    squared = list(_squared(source))
    for call in source.all(cst.Call):
        given = arguments.value(call, "y", 1) if last(source, call) == "fit" else None
        pairs = [] if given is None else list(_parts(source, given))
        yield from (value for key, value in pairs if key in squared)
        yield from (value for key, value in pairs if key not in squared)


def _squared(source: Source) -> Iterator[str]:
    for call in compiles(source):
        given = arguments.value(call, "loss", 1)
        for key, value in [] if given is None else _parts(source, given):
            word = source.code(value.func if isinstance(value, cst.Call) else value)
            if word.strip("'\"").rpartition(".")[2] in _SQUARED:
                yield key


def _parts(source: Source, node: cst.BaseExpression) -> Iterator[tuple[str, cst.BaseExpression]]:
    """The outputs' own values in a list, a tuple or a dictionary, by place or name."""
    if isinstance(node, cst.Name):
        bound = source.definitions(node)
        value = bound[0].value if len(bound) == 1 else None
        node = node if value is None else value
    if isinstance(node, cst.List | cst.Tuple):
        for place, element in enumerate(node.elements):
            yield str(place), element.value
    elif isinstance(node, cst.Dict):
        for entry in node.elements:
            if isinstance(entry, cst.DictElement):
                yield source.code(entry.key).strip("'\""), entry.value
