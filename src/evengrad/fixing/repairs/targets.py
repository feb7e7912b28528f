"""Targets in the range that their loss expects; or the loss that expects them."""

from __future__ import annotations

from collections.abc import Iterator

import libcst as cst

from evengrad.fixing.patch.keras.optimizers import compiles
from evengrad.fixing.patch.script import arguments, python
from evengrad.fixing.patch.script.draft import Manual, SourceDraft
from evengrad.fixing.patch.script.expressions import atom, last, on
from evengrad.fixing.patch.script.source import Source
from evengrad.fixing.patch.torch.logits import use_logits
from evengrad.values.fact import Fact
from evengrad.values.message import msg

FACT = "targets_outside"
_SQUARES = {
    "torch.nn.BCELoss": "torch.nn.MSELoss",
    "torch.nn.BCEWithLogitsLoss": "torch.nn.MSELoss",
    "torch.nn.functional.binary_cross_entropy": "torch.nn.functional.mse_loss",
    "torch.nn.functional.binary_cross_entropy_with_logits": "torch.nn.functional.mse_loss",
    "keras.losses.BinaryCrossentropy": "keras.losses.MeanSquaredError",
    "keras.losses.binary_crossentropy": "keras.losses.mean_squared_error",
}
_WORDS = {"binary_crossentropy", "categorical_crossentropy"}


def repair(source: Source, fact: Fact) -> Iterator[tuple[str, SourceDraft]]:
    """Scaled where the data is made, where it is given, or in the loss; a squared error for measured values."""
    if fact.values.get("side") == "input":
        yield from _log_probabilities(source, fact)
        return
    form = _form(fact)
    if form is not None:
        for place in (_prepared, _mapped, _fitted, _in_loss, _given):
            yield from place(source, fact, form)
    elif fact.values.get("kind") in (None, "probability", "reach"):
        yield from _squared(source)


def _form(fact: Fact) -> str | None:
    """How to scale targets, ``{}`` for them."""
    low, high = fact.values.get("low"), fact.values.get("high")
    if low is None or high is None:
        return None
    least = fact.values.get("least", 0)
    if fact.values.get("kind") == "sign":
        return "{} * 2 - 1"
    if low >= 0 and 200 <= high <= 255:
        return "{} / 255.0"
    if least == 0 and (low, high) == (-1, 1):
        return "({} + 1) / 2"
    if fact.values.get("integral") and (low, high) == (1, 2):
        return "{} - 1"
    return None


def _prepared(source: Source, fact: Fact, form: str) -> Iterator[tuple[str, SourceDraft]]:
    """The last of what the function returns that a data set is mapped by."""
    for call in source.all(cst.Call):
        if last(source, call) != "map" or not call.args:
            continue
        made = call.args[0].value
        bound = source.definitions(made) if isinstance(made, cst.Name) else []
        function = bound[0].node if len(bound) == 1 else None
        if not isinstance(function, cst.FunctionDef):
            continue
        for value in python.returned(source, function)[-1:]:
            if isinstance(value, cst.Tuple) and len(value.elements) == 2:
                yield _scaled(source, value.elements[1].value, form)


def _mapped(source: Source, fact: Fact, form: str) -> Iterator[tuple[str, SourceDraft]]:
    """A data set that is given to ``fit``."""
    for call in _fits(source):
        if len([a for a in call.args if a.keyword is None]) == 1 and "y" not in _words(call):
            draft = SourceDraft(source)
            for given in (call.args[0].value, arguments.value(call, "validation_data")):
                if given is not None:
                    code = f".map(lambda x, y: (x, {form.format('y')}))"
                    draft.replace(given, atom(source, given) + code)
            yield msg("the targets as {format}", format=form.format("y")), draft


def _fitted(source: Source, fact: Fact, form: str) -> Iterator[tuple[str, SourceDraft]]:
    """Targets that are given to ``fit``."""
    for call in _fits(source):
        given = arguments.value(call, "y", 1)
        if given is not None:
            yield _scaled(source, given, form)


def _in_loss(source: Source, fact: Fact, form: str) -> Iterator[tuple[str, SourceDraft]]:
    """First thing in the script's own loss function."""
    for node in on(source, fact.where)[:1]:
        function = source.around(node, cst.FunctionDef)
        names = [] if function is None else [p.name.value for p in function.params.params]
        known = [n for n in names if n in {"y_true", "target", "targets", "labels", "y", "mask"}]
        if function is not None and known and len(names) == 2 and function.body.body:
            draft = SourceDraft(source)
            first = function.body.body[0]
            draft.before(_simple(first), [f"{known[0]} = {form.format(known[0])}"])
            yield msg("{known} as {format}", known=known[0], format=form.format(known[0])), draft


def _simple(node: cst.CSTNode) -> cst.CSTNode:
    return node.body[0] if isinstance(node, cst.SimpleStatementLine) else node


def _given(source: Source, fact: Fact, form: str) -> Iterator[tuple[str, SourceDraft]]:
    """At the call of the loss; Keras' losses take the targets first."""
    for node in on(source, fact.where):
        if isinstance(node, cst.Call) and len(node.args) >= 2:
            keras = source.called(node).startswith("keras.") or _is_keras_loss(source, node)
            value = node.args[0 if keras else 1].value
            if isinstance(value, cst.Name) and _is_shared(source, value, node):
                draft = SourceDraft(source)
                draft.before(node, [f"{value.value} = {form.format(value.value)}"])
                yield msg("the targets as {code}", code=form.format(value.value)), draft
            if not isinstance(value, cst.BaseString | cst.BaseNumber):
                yield _scaled(source, value, form)


def _is_shared(source: Source, name: cst.Name, call: cst.Call) -> bool:
    """Whether another term of the loss reads it, too: a second use in the same statement."""
    statement = source.statement(call)
    uses = [] if statement is None else source.all(cst.Name, statement)
    return [one.value for one in uses].count(name.value) > 1


def _is_keras_loss(source: Source, call: cst.Call) -> bool:
    bound = source.definitions(call.func)
    return len(bound) == 1 and source.called(bound[0].value).startswith("keras.losses.")


def _scaled(source: Source, node: cst.BaseExpression, form: str) -> tuple[str, SourceDraft]:
    draft = SourceDraft(source)
    code = form.format(atom(source, node))
    above = source.parent(node)
    bare = isinstance(above, cst.Arg | cst.Element | cst.AssignTarget | cst.Return)
    draft.replace(node, code if bare else f"({code})")
    return msg("the targets as {code}", code=code), draft


def _fits(source: Source) -> list[cst.Call]:
    return [c for c in source.all(cst.Call) if last(source, c) == "fit" and c.args]


def _words(call: cst.Call) -> set[str]:
    return {arg.keyword.value for arg in call.args if arg.keyword is not None}


def _squared(source: Source) -> Iterator[tuple[str, SourceDraft]]:
    """A squared error and an output of any size."""
    draft = SourceDraft(source)
    for node in source.expressions():
        name = source.name(node)
        if name in _SQUARES and not isinstance(
            source.parent(node), cst.ImportAlias | cst.Attribute
        ):
            draft.replace(node, draft.spell(_SQUARES[name]))
    for call in compiles(source):
        loss = arguments.value(call, "loss", 1)
        if isinstance(loss, cst.SimpleString) and str(loss.evaluated_value) in _WORDS:
            draft.replace(loss, draft.quoted("mse"))
    _bare(draft)
    if draft.edits:
        yield (
            msg("a squared error and a linear output, for targets that are measured values"),
            draft,
        )


def _bare(draft: SourceDraft) -> None:
    from evengrad.fixing.patch.keras.logits import use_logits as keras_logits

    for take in (use_logits, keras_logits):
        try:
            take(draft, False)
        except Manual:
            continue


def _log_probabilities(source: Source, fact: Fact) -> Iterator[tuple[str, SourceDraft]]:
    """Logits under a loss that reads log-probabilities."""
    for node in on(source, fact.where):
        if isinstance(node, cst.Call) and len(node.args) >= 2:
            draft = SourceDraft(source)
            value = node.args[0].value
            function = draft.spell("torch.nn.functional.log_softmax")
            draft.replace(value, f"{function}({source.code(value)}, dim=-1)")
            yield msg("log-probabilities, by a log_softmax over the classes"), draft
