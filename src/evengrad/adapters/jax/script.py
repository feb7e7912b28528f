"""Measures the first step of the user's own script."""

from __future__ import annotations

from evengrad.adapters.common.sessions import Armed, Session


def arm(session: Session) -> Armed:
    """From now on."""
    del session
    return Armed(disarm=lambda: None, flush=lambda: None)
