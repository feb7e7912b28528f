"""Where a NaN was born."""

from __future__ import annotations

from evengrad.adapters.common.sessions import Armed, InquirySession


def arm(session: InquirySession) -> Armed:
    """From now on."""
    del session
    return Armed(disarm=lambda: None, flush=lambda: None)
