"""The layers of a Keras script under the names that Keras gives them: found by going through the script in
the order in which Python does.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterable
from dataclasses import dataclass

import libcst as cst

from evengrad.fixing.patch.script import arguments
from evengrad.fixing.patch.script.counting import length
from evengrad.fixing.patch.script.python import method, own_class, own_function
from evengrad.fixing.patch.script.source import Source

_MOST = 1000


@dataclass(frozen=True, slots=True)
class Made:
    """One layer. call: its construction. name: Keras' own for it, None where it cannot be told; or a
    regular expression, where the script puts it together. attribute: what the script calls it in a class.
    """

    call: cst.Call
    name: str | None
    attribute: str | None

    def called(self, name: str) -> bool:
        """Whether evengrad's name for a layer, with or without the layers around it, is this one's."""
        short = name.rpartition("/")[2]
        if self.name is not None and (
            re.fullmatch(self.name, name) or re.fullmatch(self.name, short)
        ):
            return True
        return self.attribute in {name, short}


def kind(source: Source, call: cst.CSTNode | None) -> str:
    """The class in keras.layers ("Dense") that a call makes an instance of; else nothing."""
    package, _, name = source.called(call).rpartition(".")
    return name if package == "keras.layers" and name[:1].isupper() else ""


def sites(
    source: Source, layers: Collection[str]
) -> tuple[list[tuple[cst.Call, list[str]]], list[str]]:
    """The constructions of these layers, each of which makes no others; and the layers without one."""
    made = layers_made(source)
    found: dict[str, cst.Call] = {}
    for layer in layers:
        calls = {
            id(m.call): m.call for m in made if m.name is not None and re.fullmatch(m.name, layer)
        }
        calls = calls or {id(m.call): m.call for m in made if m.called(layer)}
        if len(calls) == 1:
            found[layer] = next(iter(calls.values()))
    whole = [layer for layer, call in found.items() if _all(made, call, layers)]
    places: dict[int, tuple[cst.Call, list[str]]] = {}
    for layer in whole:
        places.setdefault(id(found[layer]), (found[layer], []))[1].append(layer)
    return list(places.values()), [layer for layer in layers if layer not in whole]


def place(source: Source, layers: Collection[str]) -> cst.CSTNode | None:
    """A construction of one of these layers, or of one that is called alike."""
    made = layers_made(source)
    words = {layer.rpartition("/")[2].rstrip("_0123456789") for layer in layers}
    named = [m.call for m in made if any(m.called(layer) for layer in layers)]
    alike = [m.call for m in made if _snake(kind(source, m.call)) in words]
    return next(iter(named or alike), None)


def _all(made: Iterable[Made], call: cst.Call, layers: Collection[str]) -> bool:
    """Whether every layer that a construction makes is among these."""
    return all(any(m.called(layer) for layer in layers) for m in made if m.call is call)


def layers_made(source: Source) -> list[Made]:
    """Every layer of the script."""
    going = _Execution(source)
    going.run(source.module.body)
    for function in source.all(cst.FunctionDef):
        going.once(function)
    return going.made


class _Execution:
    """Goes through a script. A kind of layer of which it cannot tell how many were made has no default
    names from there on.
    """

    def __init__(self, source: Source) -> None:
        self.made: list[Made] = []
        self._source = source
        self._counts: Counter[str] = Counter()
        self._unsure: set[str] = set()
        self._uncertain = 0
        self._entered: list[cst.FunctionDef] = []
        self._inside: list[cst.FunctionDef] = []

    def run(self, nodes: Iterable[cst.CSTNode]) -> None:
        for node in nodes:
            self._visit(node)

    def once(self, function: cst.FunctionDef) -> None:
        """Enter a function that nothing in the script was seen to call."""
        if all(function is not other for other in self._entered):
            self._uncertain += 1
            self._enter(function)
            self._uncertain -= 1

    def _visit(self, node: cst.CSTNode) -> None:
        if isinstance(
            node, cst.FunctionDef | cst.ClassDef | cst.Lambda | cst.Import | cst.ImportFrom
        ):
            return
        if isinstance(node, cst.For):
            self._visit(node.iter)
            self._repeat([node.body], length(self._source, node.iter))
        elif isinstance(node, cst.GeneratorExp | cst.ListComp):
            self._visit(node.for_in.iter)
            plain = node.for_in.inner_for_in is None and not node.for_in.ifs
            self._repeat([node.elt], length(self._source, node.for_in.iter) if plain else None)
        elif isinstance(node, cst.If | cst.IfExp | cst.While):
            main = isinstance(node, cst.If) and "__name__" in self._source.code(node.test)
            self._repeat(node.children, 1 if main else None)
        else:
            self.run(node.children)
            if isinstance(node, cst.Call):
                self._called(node)

    def _repeat(self, nodes: Iterable[cst.CSTNode], times: int | None) -> None:
        if times is None:
            self._uncertain += 1
            self.run(nodes)
            self._uncertain -= 1
        for _ in range(min(times or 0, _MOST)):
            self.run(nodes)

    def _called(self, call: cst.Call) -> None:
        if layer := kind(self._source, call):
            self.made.append(Made(call, self._name(call, layer), self._attribute(call)))
            return
        owner = own_class(self._source, call)
        function = own_function(self._source, call) if owner is None else method(owner, "__init__")
        if function is not None:
            self._enter(function)

    def _enter(self, function: cst.FunctionDef) -> None:
        if any(function is other for other in self._inside) or len(self.made) > _MOST:
            return
        self._entered.append(function)
        self._inside.append(function)
        self.run(function.body.body)
        self._inside.pop()

    def _name(self, call: cst.Call, layer: str) -> str | None:
        given = arguments.value(call, "name")
        if isinstance(given, cst.SimpleString):
            return re.escape(str(given.evaluated_value))
        if isinstance(given, cst.FormattedString):
            return _pattern(given)
        if given is not None or arguments.unpacked(call):
            self._unsure |= set() if given is not None else {layer}
            return None
        if self._uncertain:
            self._unsure.add(layer)
        if layer in self._unsure:
            return None
        count, word = self._counts[layer], _snake(layer)
        self._counts[layer] += 1
        return re.escape(f"{word}_{count}" if count else word)

    def _attribute(self, call: cst.Call) -> str | None:
        above = self._source.parent(call)
        if not isinstance(above, cst.Assign):
            return None
        target = self._source.code(above.targets[0].target)
        return target.removeprefix("self.") if target.startswith("self.") else None


def _pattern(given: cst.FormattedString) -> str:
    return "".join(
        re.escape(part.value) if isinstance(part, cst.FormattedStringText) else ".*"
        for part in given.parts
    )


def _snake(name: str) -> str:
    """As keras.utils.naming does."""
    name = re.sub(r"\W+", "", name)
    name = re.sub("(.)([A-Z][a-z]+)", r"\1_\2", name)
    return re.sub("([a-z])([A-Z])", r"\1_\2", name).lower()
