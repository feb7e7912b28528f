"""Looks for where a NaN or an infinity was born in the user's own script, operation by operation."""

from __future__ import annotations

from evengrad.adapters.common.sessions import Armed, InquirySession
from evengrad.adapters.torch.birth.steps import StepFollower


def arm(session: InquirySession) -> Armed:
    """From the session's step on hear every call; tell where what is not finite began."""
    follower = StepFollower(session)
    return Armed(disarm=follower.remove, flush=follower.flush)
