"""A recurrence whose state tanh holds within 1."""

from __future__ import annotations

from collections.abc import Iterator

import libcst as cst

from evengrad.fixing.patch.script import arguments
from evengrad.fixing.patch.script.draft import SourceDraft
from evengrad.fixing.patch.script.expressions import last
from evengrad.fixing.patch.script.source import Source
from evengrad.values.fact import Fact
from evengrad.values.message import msg

FACT = "recurrence_unbounded"
_KINDS = {"LSTM", "GRU", "SimpleRNN", "LSTMCell", "GRUCell", "SimpleRNNCell", "RNN", "RNNCell"}
_BOUNDED = ("tanh", "sigmoid", "softsign", "hard_sigmoid")


def repair(source: Source, fact: Fact) -> Iterator[tuple[str, SourceDraft]]:
    """Every such layer that names another activation."""
    draft = SourceDraft(source)
    for call in source.all(cst.Call):
        if last(source, call) not in _KINDS:
            continue
        for name in ("activation", "nonlinearity"):
            given = arguments.value(call, name)
            if given is not None and not source.code(given).strip("\"'").endswith(_BOUNDED):
                draft.replace(given, draft.quoted("tanh"))
    if draft.edits:
        yield msg("tanh in the recurrent layers, which holds their state"), draft
