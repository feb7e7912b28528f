"""The first line of a training at which its inputs are known."""

from __future__ import annotations

from collections.abc import Callable

import libcst as cst

from evengrad.fixing.patch.script.draft import Manual, SourceDraft
from evengrad.fixing.patch.script.source import Source


def _line(name: str, mean: float, std: float) -> str:
    sign = "+" if mean < 0 else "-"
    return f"{name} = ({name} {sign} {abs(mean):.4g}) / {std:.4g}"


def first(draft: SourceDraft, function: cst.FunctionDef | None, line: Callable[[str], str]) -> None:
    """The statement in front of all others of a method that takes one tensor, but behind one that makes that
    finite.
    """
    given = [] if function is None else [p.name.value for p in function.params.params]
    if function is None or len([n for n in given if n not in {"training", "mask"}]) != 2:
        raise Manual(function)
    body = function.body
    statements = list(body.body)
    if isinstance(body, cst.IndentedBlock) and function.get_docstring() is not None:
        statements = statements[1:]
    code = line(given[1])
    at = statements[0] if statements else function
    if isinstance(at, cst.SimpleStatementLine):
        at = at.body[0]
    if "nan_to_num(" in draft.source.code(at):
        draft.after(at, [code])
    else:
        draft.before(at, [code])


def _used(source: Source, node: cst.Name) -> bool:
    """Whether a name is read there, but for telling ``keras.Model`` where it begins."""
    above = source.parent(node)
    if isinstance(above, cst.AssignTarget | cst.Param):
        return False
    if isinstance(above, cst.Arg) and above.keyword is node:
        return False
    if isinstance(above, cst.Attribute) and above.attr is node:
        return False
    return source.called(source.around(node, cst.Call)) != "keras.Model"


def _feeds(source: Source, node: cst.Name) -> bool:
    """Whether a layer is called on it, or it only gets another name (``x = inputs``)."""
    above = source.parent(node)
    if isinstance(above, cst.Assign):
        return True
    return isinstance(above, cst.Arg) and isinstance(source.parent(above), cst.Call)
