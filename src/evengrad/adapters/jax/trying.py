"""Changes a training in a trial: of optax none yet, and the user is told so."""

from __future__ import annotations

from typing import Any

from evengrad.adapters.common.importing import when_imported
from evengrad.adapters.common.patching import Patches
from evengrad.adapters.common.sessions import Armed, TrialSession
from evengrad.errors import CannotChangeError

_WORDS = (
    "evengrad fix changes no training with optax: a flax or Equinox step is compiled as one function. "
    "`evengrad check` and `evengrad run` say what to change and where."
)


def arm(session: TrialSession) -> Armed:
    """From now on: the state of an optax optimizer is not made, and the trial ends."""
    patches = Patches()

    def optax(module: Any) -> None:
        def init(_transformation: Any) -> Any:
            session.refuse(CannotChangeError(_WORDS))

        patches.put(module.GradientTransformation, "init", property(init))

    when_imported("optax", optax)
    return Armed(disarm=patches.undo, flush=lambda: None)
