"""A clip at a few times the usual norm, so that it holds outliers alone."""

from __future__ import annotations

from collections.abc import Iterator

import libcst as cst

from evengrad.fixing.patch.script import arguments
from evengrad.fixing.patch.script.draft import SourceDraft
from evengrad.fixing.patch.script.expressions import last
from evengrad.fixing.patch.script.source import Source
from evengrad.values.fact import Fact
from evengrad.values.message import msg

FACT = "clipped_away"
_TIMES = 3  # the norm that was seen: as the finding's advice says
_TORCH = {"clip_grad_norm_": ("max_norm", 1)}


def repair(source: Source, fact: Fact) -> Iterator[tuple[str, SourceDraft]]:
    """The bound raised, of the call that clips, or of the optimizer that does."""
    norm, name = fact.values.get("norm"), fact.values.get("argument")
    if not norm or "epsilon" in fact.values:
        return
    bound = f"{_TIMES * norm:.2g}"
    for call in source.all(cst.Call):
        keyword, position = _TORCH.get(last(source, call), (str(name), None))
        given = arguments.value(call, keyword, position)
        if given is not None:
            draft = SourceDraft(source)
            draft.replace(given, repr(float(bound)))
            words = msg("clipped at {bound}, not at {code}", bound=bound, code=source.code(given))
            yield words, draft
