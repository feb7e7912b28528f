"""Class weights the right way round: the inverse of what was given, their mean 1."""

from __future__ import annotations

from collections.abc import Iterator

import libcst as cst

from evengrad.fixing.patch.script import arguments
from evengrad.fixing.patch.script.draft import SourceDraft
from evengrad.fixing.patch.script.expressions import atom, last
from evengrad.fixing.patch.script.source import Source
from evengrad.values.fact import Fact
from evengrad.values.message import msg

FACT = "weights_reversed"
_LOSSES = {"CrossEntropyLoss", "NLLLoss", "cross_entropy", "nll_loss"}
_BINARY = {"BCEWithLogitsLoss", "binary_cross_entropy_with_logits"}


def repair(source: Source, fact: Fact) -> Iterator[tuple[str, SourceDraft]]:
    """Where ``fit`` or the loss gets them."""
    for call in source.all(cst.Call):
        given = arguments.value(call, "class_weight")
        if given is not None and last(source, call) == "fit":
            whole, code = atom(source, given), source.code(given)
            inverse = f"sum({whole}.values()) / (len({code}) * weight)"
            form = f"{{label: {inverse} for label, weight in {whole}.items()}}"
            yield _written(source, given, form)
        given = arguments.value(call, "weight")
        if given is not None and last(source, call) in _LOSSES:
            code = atom(source, given)
            yield _written(source, given, f"{code}.sum() / (len({code}) * {code})")
        given = arguments.value(call, "pos_weight")
        if given is not None and last(source, call) in _BINARY:
            yield _written(source, given, f"1 / {atom(source, given)}")


def _written(source: Source, given: cst.BaseExpression, form: str) -> tuple[str, SourceDraft]:
    draft = SourceDraft(source)
    draft.replace(given, form)
    return msg("the inverse of the class weights {code}", code=source.code(given)), draft
