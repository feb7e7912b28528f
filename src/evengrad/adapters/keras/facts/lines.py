"""The user's line where TensorFlow traces a copy of the script that AutoGraph has rewritten."""

from __future__ import annotations

import linecache
import sys
from types import FrameType

import keras

from evengrad.adapters.common.source import is_own, shown, where
from evengrad.adapters.keras import compat
from evengrad.values.fact import Where


def line(frame: FrameType | None = None) -> Where | None:
    """The innermost line of the user's that stands in no ``call`` of a layer: that of the training step.

    Args:
        frame: where to begin to look, outwards; the caller's by default.
    """
    found: FrameType | None = sys._getframe(1) if frame is None else frame
    while found is not None:
        if is_own(found.f_code.co_filename) and not _in_layer(found):
            return _rewritten(found) or where(found)
        found = found.f_back
    return None


def _in_layer(frame: FrameType) -> bool:
    return frame.f_code.co_name in ("call", "tf__call") and isinstance(
        frame.f_locals.get("self"), keras.layers.Layer
    )


def _rewritten(frame: FrameType) -> Where | None:
    """Where a line of AutoGraph's copy comes from; None for any other."""
    origin = compat.rewritten_from(frame)
    if origin is None:
        return None
    file, number = origin
    return Where(shown(file), number, linecache.getline(file, number).strip())
