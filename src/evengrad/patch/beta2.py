"""Adam's memory of squared gradients."""

from __future__ import annotations

import libcst as cst

from evengrad.change import Beta2
from evengrad.patch import arguments, keras_optimizers, torch_optimizers
from evengrad.patch.draft import Draft, Manual

_ADAMS = {"Adam", "AdamW", "NAdam", "RAdam", "Nadam"}


def torch(draft: Draft, change: Beta2) -> None:
    """The second of ``betas=``."""
    source = draft.source
    adams = [
        c for c in torch_optimizers.optimizers(source) if _is_adam(torch_optimizers.kind(source, c))
    ]
    if len(adams) != 1:
        raise Manual(next(iter(adams), None))
    given = arguments.value(adams[0], "betas", 2)
    if given is None:
        if arguments.unpacked(adams[0]):
            raise Manual(adams[0])
        arguments.change(draft, adams[0], {"betas": f"(0.9, {change.value!r})"})
        return
    if not isinstance(given, cst.Tuple | cst.List) or len(given.elements) != 2:
        raise Manual(adams[0])
    draft.replace(given.elements[1].value, repr(change.value))


def keras(draft: Draft, change: Beta2) -> None:
    """``beta_2=``."""
    source = draft.source
    adams = [
        s for s in keras_optimizers.optimizers(source) if _is_adam(keras_optimizers.kind(source, s))
    ]
    if not adams:
        raise Manual()
    for site in adams:
        keras_optimizers.put(draft, site, {"beta_2": repr(change.value)})


def _is_adam(kind: str) -> bool:
    return kind in _ADAMS
