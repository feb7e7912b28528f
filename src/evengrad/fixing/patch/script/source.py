"""A script as its syntax tree: where each node stands in the text, what its names mean."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

import libcst as cst
from libcst.metadata import (
    Assignment,
    MetadataWrapper,
    ParentNodeProvider,
    PositionProvider,
    QualifiedNameProvider,
    QualifiedNameSource,
    ScopeProvider,
)

Node = TypeVar("Node", bound=cst.CSTNode)
_SHORT = {
    "tensorflow.keras": "keras",
    "keras.api": "keras",
    "keras.optimizers.legacy": "keras.optimizers",
    "keras.models.Sequential": "keras.Sequential",
    "keras.models.Model": "keras.Model",
    "keras.layers.Input": "keras.Input",
    "keras.layers.Layer": "keras.Layer",
}


@dataclass(frozen=True, slots=True)
class Definition:
    """One place that binds a name. value: what is bound there, where it is one expression."""

    node: cst.CSTNode
    value: cst.BaseExpression | None


class Source:
    """A parsed script. Raises libcst.ParserSyntaxError where it is not Python."""

    def __init__(self, text: str) -> None:
        wrapper = MetadataWrapper(cst.parse_module(text))
        self.text, self.module = text, wrapper.module
        self._positions = wrapper.resolve(PositionProvider)
        self._parents = wrapper.resolve(ParentNodeProvider)
        self._scopes = wrapper.resolve(ScopeProvider)
        self._names = wrapper.resolve(QualifiedNameProvider)
        self._lines = [0, *(end.end() for end in re.finditer(r"\r\n|\n|\r", text))]
        self._nodes = list(_walk(self.module))
        self.stars = [_dotted(n.module) for n in self.all(cst.ImportFrom) if _is_star(n)]

    def all(self, kind: type[Node], within: cst.CSTNode | None = None) -> list[Node]:
        """Every node of that kind, in the order of the text."""
        nodes = self._nodes if within is None else _walk(within)
        return [node for node in nodes if isinstance(node, kind)]

    def start(self, node: cst.CSTNode) -> int:
        """The offset of its first character; parentheses around an expression are not part of it."""
        position = self._positions[node].start
        return self._lines[position.line - 1] + position.column

    def end(self, node: cst.CSTNode) -> int:
        """The offset behind its last character."""
        position = self._positions[node].end
        return self._lines[position.line - 1] + position.column

    def line(self, node: cst.CSTNode) -> int:
        """The number of the line that it starts in."""
        return self._positions[node].start.line

    def line_start(self, node: cst.CSTNode) -> int:
        """The offset at which its first line starts."""
        return self._lines[self.line(node) - 1]

    def indent(self, node: cst.CSTNode) -> str:
        """The white space in front of its first line."""
        line = self.text[self.line_start(node) :]
        return line[: len(line) - len(line.lstrip(" \t"))]

    def expressions(self, within: cst.CSTNode | None = None) -> list[cst.BaseExpression]:
        """Every expression, in the order of the text."""
        nodes = self._nodes if within is None else _walk(within)
        return [node for node in nodes if isinstance(node, cst.BaseExpression)]

    def top(self, offset: int) -> cst.CSTNode:
        """The statement of the module that a character is part of."""
        return next(node for node in self.module.body if self.end(node) > offset)

    def statement(self, node: cst.CSTNode) -> cst.CSTNode | None:
        """The innermost statement that a node is, or is part of: a simple one, or a compound one."""
        found: cst.CSTNode | None = node
        while found is not None and not isinstance(
            found, cst.BaseSmallStatement | cst.BaseCompoundStatement
        ):
            found = self.parent(found)
        return found

    def code(self, node: cst.CSTNode) -> str:
        """As written, with the parentheses around it."""
        return self.module.code_for_node(node)

    def parent(self, node: cst.CSTNode) -> cst.CSTNode | None:
        """The node that it is a part of; None for the module."""
        return self._parents.get(node)

    def around(self, node: cst.CSTNode, kind: type[Node]) -> Node | None:
        """The innermost node of that kind that it is part of."""
        above = self.parent(node)
        while above is not None and not isinstance(above, kind):
            above = self.parent(above)
        return above

    def within(self, node: cst.CSTNode, other: cst.CSTNode) -> bool:
        """Whether a node is another one or a part of it."""
        return self.start(other) <= self.start(node) and self.end(node) <= self.end(other)

    def name(self, node: cst.CSTNode | None) -> str:
        """What a dotted name means, through imports and aliases ("keras.layers.Dense"); else nothing."""
        if not isinstance(node, cst.Name | cst.Attribute) or not (root := _root(node)):
            return ""
        for found in _get(self._names, node) or ():
            if found.source is QualifiedNameSource.IMPORT:
                return canonical(found.name)
        rest = self.code(node)[len(root.value) :]
        bound = self.definitions(root)
        parameter = bound and isinstance(self.parent(bound[0].node), cst.Param | cst.Parameters)
        if len(bound) == 1 and isinstance(bound[0].value, cst.Attribute) and not parameter:
            return canonical(self.name(bound[0].value) + rest)
        if not bound and not _get(self._names, node) and len(self.stars) == 1:
            return canonical(f"{self.stars[0]}.{self.code(node)}")
        return ""

    def called(self, node: cst.CSTNode | None) -> str:
        """The meaning of what a call calls; nothing where it is no call."""
        return self.name(node.func) if isinstance(node, cst.Call) else ""

    def definitions(self, node: cst.CSTNode) -> list[Definition]:
        """Where a name, or an attribute of self, is bound; in the order of the text."""
        if isinstance(node, cst.Attribute):
            return self._attribute(node)
        scope = _get(self._scopes, node)
        if not isinstance(node, cst.Name) or scope is None:
            return []
        bound = [a.node for a in scope[node.value] if isinstance(a, Assignment)]
        return [self._definition(n) for n in sorted(bound, key=self.start)]

    def local(self, name: str, at: cst.CSTNode) -> bool:
        """Whether a name is bound where that node stands."""
        scope = _get(self._scopes, at)
        return scope is not None and any(isinstance(a, Assignment) for a in scope[name])

    def _attribute(self, node: cst.Attribute) -> list[Definition]:
        owner, code = self.around(node, cst.ClassDef), self.code(node)
        if owner is None or not code.startswith("self."):
            return []
        targets = [t.target for t in self.all(cst.AssignTarget, owner)]
        targets += [a.target for a in self.all(cst.AnnAssign, owner)]
        return [self._definition(t) for t in targets if self.code(t) == code]

    def _definition(self, node: cst.CSTNode) -> Definition:
        above = self.parent(node)
        if isinstance(node, cst.Param):
            return Definition(node, node.default)
        if isinstance(above, cst.AssignTarget):
            above = self.parent(above)
        if isinstance(above, cst.Assign | cst.AnnAssign | cst.NamedExpr | cst.Param):
            return Definition(node, above.default if isinstance(above, cst.Param) else above.value)
        return Definition(node, None)


def canonical(name: str) -> str:
    """One name for what has several: ``tf.keras`` is ``keras``."""
    for long, short in _SHORT.items():
        if name == long or name.startswith(f"{long}."):
            name = short + name[len(long) :]
    return name


def _walk(node: cst.CSTNode) -> Iterator[cst.CSTNode]:
    yield node
    for child in node.children:
        yield from _walk(child)


def _root(node: cst.BaseExpression) -> cst.Name | None:
    while isinstance(node, cst.Attribute):
        node = node.value
    return node if isinstance(node, cst.Name) else None


def _get(values: Mapping[Any, Any], node: cst.CSTNode) -> Any:
    value = values.get(node)
    return value() if callable(value) else value  # libcst computes some when they are asked for


def _dotted(node: cst.BaseExpression | None) -> str:
    return "" if node is None else cst.Module([]).code_for_node(node)


def _is_star(node: cst.ImportFrom) -> bool:
    return isinstance(node.names, cst.ImportStar)
