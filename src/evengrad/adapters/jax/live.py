"""Watches every optax optimizer that the user's own script calls."""

from __future__ import annotations

from evengrad.adapters.common.patching import Patches
from evengrad.adapters.common.sessions import Armed, LiveSession
from evengrad.adapters.jax.measure.lessons import HeardLessons
from evengrad.adapters.jax.tap.seams import put_on
from evengrad.adapters.jax.tap.tap import Taps


def arm(session: LiveSession) -> Armed:
    """From now on; what is patched of optax and Equinox, is where the script imports them."""
    taps = Taps(session.settings, session.script, session.watching, session.trouble)
    patches = Patches(session.trouble)
    put_on(taps, patches, lambda: not session.closed)
    lessons = HeardLessons(taps.ears, session.trouble)
    taps.stepped = lessons.stepped
    lessons.put_on(patches, lambda: not session.closed)

    def disarm() -> None:
        taps.close()
        patches.undo()

    return Armed(disarm=disarm, flush=lambda: None)
