"""On JAX."""

from __future__ import annotations

import jax  # noqa: F401

from evengrad.adapters.common.sessions import Armed, InquirySession


def arm(session: InquirySession) -> Armed:  # noqa: ARG001
    """Not yet."""
    return Armed(disarm=lambda: None, flush=lambda: None)
