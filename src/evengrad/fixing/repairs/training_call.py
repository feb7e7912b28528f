"""A model that is called as one in training where it is trained."""

from __future__ import annotations

from collections.abc import Iterator

import libcst as cst

from evengrad.fixing.patch.script import arguments
from evengrad.fixing.patch.script.draft import SourceDraft
from evengrad.fixing.patch.script.expressions import last, on
from evengrad.fixing.patch.script.source import Source
from evengrad.values.fact import Fact
from evengrad.values.message import msg

FACT = "statistics_unused"
_TRAINED = {"trainable_variables", "trainable_weights"}


def repair(source: Source, fact: Fact) -> Iterator[tuple[str, SourceDraft]]:
    """``training=True`` in the calls under the tape; ``train()`` at the head of PyTorch's loop."""
    yield from _in_tapes(source)
    yield from _at_line(source, fact)
    yield from _train_mode(source)


def _names(source: Source) -> set[str]:
    """What has weights that the script trains."""
    held = [node for node in source.all(cst.Attribute) if node.attr.value in _TRAINED]
    return {source.code(node.value) for node in held}


def _at_line(source: Source, fact: Fact) -> Iterator[tuple[str, SourceDraft]]:
    """Where it was seen: in a function that is called under the tape, or differentiated by JAX."""
    names = _names(source)
    for node in on(source, fact.where):
        if not isinstance(node, cst.Call) or not node.args:
            continue
        called = source.code(node.func) in names or last(source, node) == "stateless_call"
        given = arguments.argument(node, "training")
        if called and (given is None or source.code(given.value) in {"False", "None"}):
            draft = SourceDraft(source)
            arguments.change(draft, node, {"training": "True"})
            yield msg("{code} is called with training=True", code=source.code(node.func)), draft
            return


def _in_tapes(source: Source) -> Iterator[tuple[str, SourceDraft]]:
    names = _names(source)
    draft = SourceDraft(source)
    for block in source.all(cst.With):
        if not any(last_name(source, item.item) == "GradientTape" for item in block.items):
            continue
        for call in source.all(cst.Call, block.body):
            known = source.code(call.func) in names
            given = arguments.argument(call, "training")
            if known and call.args and given is None:
                arguments.change(draft, call, {"training": "True"})
            elif known and given is not None and source.code(given.value) in {"False", "None"}:
                draft.replace(given.value, "True")
    if draft.edits:
        yield msg("the model is called with training=True under the tape"), draft


def last_name(source: Source, node: cst.BaseExpression) -> str:
    """The last part of what is called; nothing for what is no call."""
    return last(source, node) if isinstance(node, cst.Call) else ""


def _train_mode(source: Source) -> Iterator[tuple[str, SourceDraft]]:
    """``model.eval()`` without a ``train()`` before the next epoch."""
    for call in source.all(cst.Call):
        if last(source, call) != "backward":
            continue
        batches = source.around(call, cst.For)
        model = _evaluated(source)
        if batches is not None and model is not None:
            draft = SourceDraft(source)
            draft.before(batches, [f"{model}.train()"])
            yield msg("{model}.train() before the loop over the batches", model=model), draft
            return


def _evaluated(source: Source) -> str | None:
    """What the script calls ``eval()`` of."""
    for call in source.all(cst.Call):
        if last(source, call) == "eval" and isinstance(call.func, cst.Attribute) and not call.args:
            return source.code(call.func.value)
    return None
