"""Adam's memory of squared gradients."""

from __future__ import annotations

import libcst as cst

from evengrad.fixing.patch.script import arguments
from evengrad.fixing.patch.script.draft import Manual, SourceDraft
from evengrad.fixing.patch.script.optimizer import _is_adam
from evengrad.fixing.patch.torch import optimizers


def set_beta2(draft: SourceDraft, value: float) -> None:
    """The second of ``betas=``."""
    source = draft.source
    adams = [c for c in optimizers.optimizers(source) if _is_adam(optimizers.kind(source, c))]
    if len(adams) != 1:
        raise Manual(next(iter(adams), None))
    given = arguments.value(adams[0], "betas", 2)
    if given is None:
        if arguments.unpacked(adams[0]):
            raise Manual(adams[0])
        arguments.change(draft, adams[0], {"betas": f"(0.9, {value!r})"})
        return
    if not isinstance(given, cst.Tuple | cst.List) or len(given.elements) != 2:
        raise Manual(adams[0])
    draft.replace(given.elements[1].value, repr(value))
