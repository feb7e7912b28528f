"""Samples and labels that are shuffled together, where each was shuffled by itself.

No adapter tells of this one: it is tried where a training stands still (``fixing.sight``).
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

import libcst as cst

from evengrad.fixing.patch.script.draft import SourceDraft
from evengrad.fixing.patch.script.expressions import last
from evengrad.fixing.patch.script.source import Source
from evengrad.values.fact import Fact
from evengrad.values.message import msg

FACT = "labels_apart"
_ORDERS = {"permutation", "randperm"}


def repair(source: Source, fact: Fact) -> Iterator[tuple[str, SourceDraft]]:
    """Two statements, one behind the other, that shuffle two names: one order for both."""
    lines = source.all(cst.SimpleStatementLine)
    for first, second in pairwise(lines):
        pair = [_shuffled(source, line) for line in (first, second)]
        if source.parent(first) is not source.parent(second) or None in pair:
            continue
        (one, order), (two, _) = (found for found in pair if found is not None)
        if one == two:
            continue
        draft = SourceDraft(source)
        draft.replace(first.body[0], f"order = {order or _permutation(draft, one)}")
        draft.replace(second.body[0], f"{one}, {two} = {one}[order], {two}[order]")
        yield msg("{one} and {two} are shuffled together", one=one, two=two), draft


def _permutation(draft: SourceDraft, name: str) -> str:
    return f"{draft.spell('numpy.random.permutation')}(len({name}))"


def _shuffled(source: Source, line: cst.SimpleStatementLine) -> tuple[str, str] | None:
    """What a statement shuffles, and the order that it makes for it: ``np.random.shuffle(x)`` has none,
    ``x = x[torch.randperm(n)]`` has.
    """
    statement = line.body[0] if len(line.body) == 1 else None
    if isinstance(statement, cst.Expr) and isinstance(statement.value, cst.Call):
        call = statement.value
        given = [source.code(arg.value) for arg in call.args if isinstance(arg.value, cst.Name)]
        own = source.called(call) == "numpy.random.shuffle"
        return (given[0], "") if own and len(given) == len(call.args) == 1 else None
    if isinstance(statement, cst.Assign) and isinstance(statement.value, cst.Subscript):
        name, index = source.code(statement.targets[0].target), statement.value.slice
        order = index[0].slice if len(index) == 1 else None
        value = order.value if isinstance(order, cst.Index) else None
        drawn = isinstance(value, cst.Call) and last(source, value) in _ORDERS
        if value is not None and drawn and source.code(statement.value.value) == name:
            return name, source.code(value)
    return None
