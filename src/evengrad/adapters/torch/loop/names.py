"""What the script calls its own objects."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

from evengrad.adapters.common.source import own_frames
from evengrad.adapters.torch.tap.models import find_roots

_OWNERS = ("self", "trainer", "args")


def name_of(value: Any) -> str | None:
    """The variable that holds it in a frame of the user's, or the attribute of his ``self``; None elsewhere."""
    for frame in own_frames(sys._getframe(1)):
        spaces = (frame.f_locals, frame.f_globals)
        for space in spaces:
            for name, other in list(space.items()):
                if other is value and not name.startswith("_"):
                    return str(name)
        for owner in _OWNERS:
            holder = frame.f_locals.get(owner)
            for name, other in list(getattr(holder, "__dict__", {}).items()):
                if other is value:
                    return f"{owner}.{name}"
    return None


def shown(value: Any) -> str:
    """The variable's name, or the class."""
    return name_of(value) or type(value).__name__


def models_of(parameters: Sequence[Any]) -> list[tuple[str | None, str]]:
    """The models that hold them, at most three: the user's name of each, and its class."""
    return [(name_of(root), type(root).__name__) for root in find_roots(parameters)[:3]]
