"""A loss that is the mean of its batch, not the sum."""

from __future__ import annotations

from collections.abc import Iterator

import libcst as cst

from evengrad.fixing.patch.script import arguments
from evengrad.fixing.patch.script.draft import SourceDraft
from evengrad.fixing.patch.script.expressions import calls, is_method, last
from evengrad.fixing.patch.script.source import Source
from evengrad.values.fact import Fact
from evengrad.values.message import msg

FACT = "loss_summed"
_MEANS = {"sum": "mean", "reduce_sum": "reduce_mean"}


def repair(source: Source, fact: Fact) -> Iterator[tuple[str, SourceDraft]]:
    """Told so, or by another function at that line."""
    for call in source.all(cst.Call):
        given = arguments.argument(call, "reduction")
        word = None if given is None else given.value
        if isinstance(word, cst.SimpleString) and str(word.evaluated_value).lower() == "sum":
            draft = SourceDraft(source)
            keras = "keras" in source.called(call)
            draft.replace(word, draft.quoted("sum_over_batch_size" if keras else "mean"))
            yield msg("the loss is the mean over its batch, not the sum"), draft
    for call in calls(source, fact.where, *_MEANS):
        if len(call.args) > (0 if is_method(source, call) else 1):
            continue  # a sum along some axes only
        draft = SourceDraft(source)
        assert isinstance(call.func, cst.Attribute)
        draft.replace(call.func.attr, _MEANS[last(source, call)])
        yield msg("the loss is the mean over its batch, not the sum"), draft
