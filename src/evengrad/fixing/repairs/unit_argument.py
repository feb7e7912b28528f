"""A curve whose parameters are fitted, of an argument of mean 0 and deviation 1.

No adapter tells of this one: it is tried where a training that has no model is not well (``fixing.sight``).
"""

from __future__ import annotations

from collections.abc import Iterator

import libcst as cst

from evengrad.fixing.patch.script import arguments
from evengrad.fixing.patch.script.draft import SourceDraft
from evengrad.fixing.patch.script.expressions import last
from evengrad.fixing.patch.script.source import Source
from evengrad.values.fact import Fact
from evengrad.values.message import msg

FACT = "curve_flat"


def repair(source: Source, fact: Fact) -> Iterator[tuple[str, SourceDraft]]:
    """What a parameter is multiplied by, or taken from, in the loop; in front of that."""
    for loop in (*source.all(cst.For), *source.all(cst.While)):
        if not any(last(source, call) == "backward" for call in source.all(cst.Call, loop)):
            continue
        for name in dict.fromkeys(_beside(source, loop)):
            draft = SourceDraft(source)
            code = f"{name} = ({name} - {name}.mean()) / {name}.std()"
            if code in source.text:
                continue
            draft.insert(source.line_start(loop), f"{source.indent(loop)}{code}\n")
            yield msg("{name} has mean 0 and deviation 1", name=name), draft
        return


def _beside(source: Source, loop: cst.CSTNode) -> Iterator[str]:
    """Data on the other side of an operator than a parameter."""
    for node in source.all(cst.BinaryOperation, loop):
        if not isinstance(node.operator, cst.Multiply | cst.Subtract | cst.Add):
            continue
        for one, other in ((node.left, node.right), (node.right, node.left)):
            named = isinstance(other, cst.Name) and _is_parameter(source, one)
            if named and _is_data(source, other, loop):
                yield source.code(other)


def _is_parameter(source: Source, node: cst.BaseExpression) -> bool:
    made = [found.value for found in source.definitions(node)] if isinstance(node, cst.Name) else []
    return any(
        isinstance(call, cst.Call)
        and (last(source, call) == "Parameter" or _wants_gradient(source, call))
        for call in made
    )


def _wants_gradient(source: Source, call: cst.Call) -> bool:
    given = arguments.value(call, "requires_grad")
    return given is not None and source.code(given) == "True"


def _is_data(source: Source, name: cst.BaseExpression, loop: cst.CSTNode) -> bool:
    """Bound once, outside of the loop, to what is no parameter."""
    bound = source.definitions(name)
    return (
        len(bound) == 1
        and bound[0].value is not None
        and not source.within(bound[0].node, loop)
        and not _is_parameter(source, name)
    )
