"""Adam's memory of squared gradients."""

from __future__ import annotations

from evengrad.fixing.patch.keras import optimizers
from evengrad.fixing.patch.script.draft import Manual, SourceDraft
from evengrad.fixing.patch.script.optimizer import _is_adam


def set_beta2(draft: SourceDraft, value: float) -> None:
    """``beta_2=``."""
    source = draft.source
    adams = [s for s in optimizers.optimizers(source) if _is_adam(optimizers.kind(source, s))]
    if not adams:
        raise Manual()
    for site in adams:
        optimizers.put(draft, site, {"beta_2": repr(value)})
