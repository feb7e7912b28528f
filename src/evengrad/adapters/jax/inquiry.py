"""Where a NaN or an infinity was born: each loss that is differentiated is looked at, equation by equation."""

from __future__ import annotations

from typing import Any

import jax

from evengrad.adapters.common.patching import Patches
from evengrad.adapters.common.sessions import Armed, InquirySession
from evengrad.adapters.jax import compat
from evengrad.adapters.jax.born.walk import WatchedCall
from evengrad.adapters.jax.measure.measure import DifferentiatedCall
from evengrad.adapters.jax.measure.scopes import ScopeMarks
from evengrad.adapters.jax.tap.losses import LossEars


def arm(session: InquirySession) -> Armed:
    """From the start on: what is compiled is so once, and steps are not told apart in it. The first one whose
    loss or gradient is not finite is the one that is looked for.
    """
    marks, patches = ScopeMarks(), Patches()

    def differentiating(function: Any, given: Any, named: Any, chosen: Any, auxiliary: bool) -> Any:
        places = (chosen,) if isinstance(chosen, int) else tuple(chosen)
        call = DifferentiatedCall(compat.again(function), places, given, dict(named), auxiliary)

        def look(_: Any) -> None:
            try:
                WatchedCall(call, marks, session.born).look()
            except Exception as error:
                session.trouble(error)

        return look

    ears = LossEars(session.trouble, differentiating)
    ears.put_on(patches)
    marks.put_on(patches, lambda: ears.on)
    return Armed(disarm=patches.undo, flush=jax.effects_barrier)
