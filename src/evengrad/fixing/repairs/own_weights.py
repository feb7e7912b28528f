"""Keras: weights that no step moves are moved: each loss by those of the model that it is to train."""

from __future__ import annotations

from collections.abc import Iterator

import libcst as cst

from evengrad.fixing.patch.script.draft import SourceDraft
from evengrad.fixing.patch.script.expressions import last
from evengrad.fixing.patch.script.source import Source
from evengrad.values.fact import Fact
from evengrad.values.message import msg

FACT = "weights_unheld"
_WEIGHTS = {"trainable_variables", "trainable_weights"}
_STEPS = {"apply_gradients", "apply", "stateless_apply"}


def repair(source: Source, fact: Fact) -> Iterator[tuple[str, SourceDraft]]:
    """By what became of the weights."""
    ways = {"twice": _other, "left": _more, "frozen": _head, "dropped": _carried}
    way = ways.get(str(fact.values.get("how")))
    if way is not None:
        yield from way(source, fact)


def _asked(source: Source, fact: Fact) -> list[cst.Call]:
    """The calls for gradients, the nearest to where it was seen first."""
    found = [call for call in source.all(cst.Call) if last(source, call) == "gradient"]
    line = 0 if fact.where is None else fact.where.line
    return sorted(found, key=lambda call: abs(source.line(call) - line))


def _weights(source: Source, within: cst.CSTNode) -> list[cst.Attribute]:
    """``model.trainable_weights`` in an expression."""
    return [n for n in source.all(cst.Attribute, within) if n.attr.value in _WEIGHTS]


def _step(source: Source, asked: cst.Call) -> list[cst.CSTNode]:
    """The call for gradients and the step behind it that takes them."""
    function = source.around(asked, cst.FunctionDef)
    later = [
        call
        for call in source.all(cst.Call)
        if last(source, call) in _STEPS
        and source.start(call) > source.start(asked)
        and source.around(call, cst.FunctionDef) is function
    ]
    return [asked, *later[:1]]


def _models(source: Source) -> list[str]:
    """What is called somewhere, and is no function or class of the script's own."""
    names = [source.code(call.func) for call in source.all(cst.Call)]
    own = {node.name.value for node in source.all(cst.FunctionDef)}
    made = {
        source.code(assign.targets[0].target)
        for assign in source.all(cst.Assign)
        if isinstance(assign.value, cst.Call)
    }
    return [name for name in dict.fromkeys(names) if name in made - own]


def _named(source: Source, fact: Fact) -> list[str]:
    """The model that is told of first, by its name or what it is assigned to."""
    name = str(fact.values.get("model"))
    models = _models(source)
    return sorted(models, key=lambda model: (model != name, not model.endswith(f".{name}")))


def _other(source: Source, fact: Fact) -> Iterator[tuple[str, SourceDraft]]:
    """Two optimizers move the same weights: one of them moves the model that nobody does."""
    name = _named(source, fact)[:1]
    for asked in _asked(source, fact) if name else ():
        draft = SourceDraft(source)
        for node in [n for part in _step(source, asked) for n in _weights(source, part)]:
            draft.replace(node.value, name[0])
        if draft.edits:
            words = msg(
                "{code} is for the weights of {name}", code=source.code(asked), name=name[0]
            )
            yield words, draft


def _more(source: Source, fact: Fact) -> Iterator[tuple[str, SourceDraft]]:
    """A model of the loss whose weights nobody asks the gradients of."""
    name = _named(source, fact)[:1]
    lists = [
        assign.value
        for assign in source.all(cst.Assign)
        if isinstance(assign.value, cst.BinaryOperation | cst.Attribute)
        and _weights(source, assign.value)
    ]
    for found in lists if name else ():
        draft = SourceDraft(source)
        word = _weights(source, found)[0].attr.value
        draft.insert(source.end(found), f" + {name[0]}.{word}")
        yield msg("the weights of {name} are trained, too", name=name[0]), draft
    for asked in _asked(source, fact) if name else ():
        draft = SourceDraft(source)
        for node in [n for part in _step(source, asked) for n in _weights(source, part)]:
            draft.insert(source.end(node), f" + {name[0]}.{node.attr.value}")
        if draft.edits:
            yield msg("the weights of {name} are trained, too", name=name[0]), draft


def _head(source: Source, fact: Fact) -> Iterator[tuple[str, SourceDraft]]:
    """A loop that freezes every layer leaves the last one; else what is frozen is trained."""
    for loop in source.all(cst.For):
        frozen = [a for a in source.all(cst.Assign, loop) if _freezes(source, a)]
        layers = loop.iter
        if frozen and isinstance(layers, cst.Attribute) and layers.attr.value == "layers":
            draft = SourceDraft(source)
            draft.insert(source.end(layers), "[:-1]")
            yield msg("the last layer of {code} is trained", code=source.code(layers.value)), draft
    for assign in source.all(cst.Assign):
        if _freezes(source, assign) and source.around(assign, cst.For) is None:
            draft = SourceDraft(source)
            draft.replace(assign.value, "True")
            target = source.code(assign.targets[0].target)
            yield msg("{target} is True", target=target), draft


def _freezes(source: Source, assign: cst.Assign) -> bool:
    target = assign.targets[0].target
    named = isinstance(target, cst.Attribute) and target.attr.value == "trainable"
    return named and source.code(assign.value) == "False"


def _carried(source: Source, fact: Fact) -> Iterator[tuple[str, SourceDraft]]:
    """``loss, new_state = step(state, batch)`` in a loop: the next step is given what this one returned."""
    for assign in source.all(cst.Assign):
        call, loop = assign.value, source.around(assign, cst.For)
        target = assign.targets[0].target
        if not isinstance(call, cst.Call) or loop is None:
            continue
        given = [arg.value.value for arg in call.args if isinstance(arg.value, cst.Name)]
        parts = [e.value for e in target.elements] if isinstance(target, cst.Tuple) else [target]
        new = [p.value for p in parts if isinstance(p, cst.Name) and p.value not in given]
        pairs = [(old, made) for made in new for old in given if old in made and old != made]
        if len(pairs) == 1:
            yield _renamed(source, *pairs[0], source.start(assign))


def _renamed(source: Source, old: str, made: str, start: int) -> tuple[str, SourceDraft]:
    draft = SourceDraft(source)
    for name in source.all(cst.Name):
        if name.value == made and source.start(name) >= start:
            draft.replace(name, old)
    return msg("what the step returns is {old}, which the next one is given", old=old), draft
