"""The optimizer made after the model's last change, of all of its weights."""

from __future__ import annotations

from collections.abc import Iterator

import libcst as cst

from evengrad.fixing.patch.script.draft import Manual, SourceDraft
from evengrad.fixing.patch.script.expressions import last
from evengrad.fixing.patch.script.moving import block, line_of, move_behind
from evengrad.fixing.patch.script.source import Source
from evengrad.fixing.patch.torch import optimizers
from evengrad.fixing.patch.torch.head import own_modules
from evengrad.values.fact import Fact
from evengrad.values.message import msg

FACT = "weights_unheld"
_TRAINS = {"fit", "train_on_batch", "evaluate", "predict"}
_GROWING = {"add_module", "append", "insert", "extend", "register_module", "add"}


def repair(source: Source, fact: Fact) -> Iterator[tuple[str, SourceDraft]]:
    """Moved behind what changes the model; lists of modules that are none; more of the model's weights."""
    yield from _moved(source)
    yield from _lists(source)
    yield from _more(source)
    yield from _apart(source)
    yield from _compiled(source)


def _made(source: Source) -> list[cst.Call]:
    try:
        return optimizers.optimizers(source)
    except Manual:
        return []


def _moved(source: Source) -> Iterator[tuple[str, SourceDraft]]:
    for made in _made(source):
        model, target = optimizers.models(source, made), optimizers.target(source, made)
        if model is None or target is None:
            continue
        later = _behind(source, made)
        changing = [s for s in later if _changes(source, s, source.code(model))]
        if not changing:
            continue
        draft = SourceDraft(source)
        between = later[: later.index(changing[-1])]
        using = [
            s
            for s in between
            if not isinstance(s, cst.FunctionDef | cst.ClassDef)  # it is used where they are called
            and _names(source, s, source.code(target))
        ]
        for statement in [made, *using]:
            move_behind(draft, _inside(statement), changing[-1])
        yield msg("the optimizer is made after the model's last change"), draft


def _behind(source: Source, node: cst.CSTNode) -> list[cst.BaseStatement]:
    statement = source.around(node, cst.SimpleStatementLine)
    beside = block(source, node)
    return beside[beside.index(statement) + 1 :] if statement in beside else []


def _inside(node: cst.CSTNode) -> cst.CSTNode:
    return node.body[0] if isinstance(node, cst.SimpleStatementLine) else node


def _changes(source: Source, statement: cst.CSTNode, model: str) -> bool:
    """Whether a statement gives the model, or a part of it, other weights."""
    if isinstance(statement, cst.For | cst.While | cst.FunctionDef | cst.ClassDef):
        return False
    targets = [source.code(t.target) for t in source.all(cst.AssignTarget, statement)]
    if any(t == model or t.startswith((f"{model}.", f"{model}[")) for t in targets):
        return not all(t.endswith((".requires_grad", ".trainable")) for t in targets)
    for call in source.all(cst.Call, statement):
        func = call.func
        if isinstance(func, cst.Attribute) and func.attr.value in _GROWING:
            owner = source.code(func.value)
            if owner == model or owner.startswith(f"{model}."):
                return True
    return False


def _names(source: Source, statement: cst.CSTNode, code: str) -> bool:
    return any(source.code(node) == code for node in source.expressions(statement))


def _lists(source: Source) -> Iterator[tuple[str, SourceDraft]]:
    """``self.blocks = [nn.Linear(...), ...]`` registers nothing."""
    draft = SourceDraft(source)
    for assign in source.all(cst.Assign):
        value, target = assign.value, assign.targets[0].target
        own = isinstance(target, cst.Attribute) and source.code(target).startswith("self.")
        listed = isinstance(value, cst.List | cst.ListComp | cst.Dict | cst.DictComp)
        if own and listed and _has_modules(source, value):
            dictionary = isinstance(value, cst.Dict | cst.DictComp)
            kind = "ModuleDict" if dictionary else "ModuleList"
            draft.replace(value, f"{draft.spell(f'torch.nn.{kind}')}({source.code(value)})")
    if draft.edits:
        yield msg("the list of layers is a ModuleList, whose weights the model has"), draft


def _has_modules(source: Source, value: cst.CSTNode) -> bool:
    own = {owner.name.value for owner in source.all(cst.ClassDef)}
    return any(
        source.called(call).startswith("torch.nn.") or source.code(call.func) in own
        for call in source.all(cst.Call, value)
    )


def _more(source: Source) -> Iterator[tuple[str, SourceDraft]]:
    """``model.head.parameters()`` alone, where the others are trained, too."""
    for made in _made(source):
        given = optimizers.parameters(source, made)
        if given is None or not isinstance(given.func, cst.Attribute):
            continue
        part = given.func.value
        model = optimizers.models(source, made) or _indexed(source, part)
        if model is not None and source.code(part) != source.code(model):
            draft = SourceDraft(source)
            draft.replace(part, source.code(model))
            yield msg("the optimizer gets all weights of {code}", code=source.code(model)), draft


def _indexed(source: Source, part: cst.BaseExpression) -> cst.BaseExpression | None:
    """``model`` of ``model[4]``, where that is one network and no list of them."""
    if not isinstance(part, cst.Subscript) or source.code(part.value) not in _networks(source):
        return None
    return part.value


def _apart(source: Source) -> Iterator[tuple[str, SourceDraft]]:
    """A second network, which no optimizer was given."""
    made = _made(source)
    held = " ".join(source.code(call) for call in made)
    others = [n for n in _networks(source) if f"{n}." not in held and f"{n}[" not in held]
    given = optimizers.parameters(source, made[0]) if len(made) == 1 else None
    if given is not None and others:
        code = ", ".join([f"*{source.code(given)}", *(f"*{n}.parameters()" for n in others)])
        draft = SourceDraft(source)
        draft.replace(given, f"[{code}]")
        yield (
            msg("the optimizer gets the weights of {others}, too", others=", ".join(others)),
            draft,
        )


def _networks(source: Source) -> list[str]:
    """Names at the top of the script that stand for modules."""
    own = {owner.name.value for owner in own_modules(source)}
    found = []
    for assign in source.all(cst.Assign):
        target, value = assign.targets[0].target, assign.value
        top = source.around(assign, cst.FunctionDef) is None
        if top and isinstance(target, cst.Name) and isinstance(value, cst.Call):
            name, _, kind = source.called(value).rpartition(".")
            made = source.code(value.func) in own
            if made or (name == "torch.nn" and not kind.endswith("Loss")):
                found.append(target.value)
    return list(dict.fromkeys(found))


def _compiled(source: Source) -> Iterator[tuple[str, SourceDraft]]:
    """Keras: what is trained is settled by ``compile``. The last one before a change first; where the model is
    trained between the two, it is compiled once more.
    """
    for call in reversed(source.all(cst.Call)):
        if not isinstance(call.func, cst.Attribute) or call.func.attr.value != "compile":
            continue
        later = _behind(source, call)
        changing = [s for s in later if _trainable(source, s)]
        if not changing:
            continue
        draft = SourceDraft(source)
        between = later[: later.index(changing[-1])]
        if any(
            last(source, other) in _TRAINS for s in between for other in source.all(cst.Call, s)
        ):
            draft.after(
                _inside(changing[-1]), source.code(line_of(source, call).body[0]).split("\n")
            )
        else:
            move_behind(draft, call, changing[-1])
        yield msg("the model is compiled after its last change"), draft


def _trainable(source: Source, statement: cst.CSTNode) -> bool:
    if isinstance(statement, cst.FunctionDef | cst.ClassDef):
        return False
    targets = [source.code(t.target) for t in source.all(cst.AssignTarget, statement)]
    return any(target.endswith(".trainable") for target in targets)
