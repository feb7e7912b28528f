"""An epsilon of Adam that half precision can hold."""

from __future__ import annotations

from collections.abc import Iterator

import libcst as cst

from evengrad.fixing.patch.keras import optimizers as keras_optimizers
from evengrad.fixing.patch.script import arguments
from evengrad.fixing.patch.script.draft import SourceDraft
from evengrad.fixing.patch.script.source import Source
from evengrad.fixing.patch.torch import optimizers
from evengrad.values.fact import Fact
from evengrad.values.message import msg

FACT = "update_not_finite"
_EPSILON = "1e-4"
_WITH = ("Adam", "AdamW", "NAdam", "Nadam", "RAdam", "Adamax", "RMSprop", "Adagrad", "Adadelta")


def repair(source: Source, fact: Fact) -> Iterator[tuple[str, SourceDraft]]:
    """1e-8 is 0 in float16; 1e-4 is not."""
    draft = SourceDraft(source)
    for call in source.all(cst.Call):
        if optimizers.kind(source, call) in _WITH:
            arguments.change(draft, call, {"eps": _EPSILON})
        elif keras_optimizers.kind(source, call) in _WITH:
            arguments.change(draft, call, {"epsilon": _EPSILON})
    yield (
        msg("an epsilon of {EPSILON}, which half precision does not round to 0", EPSILON=_EPSILON),
        draft,
    )
