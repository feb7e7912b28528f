"""Reads from Python's stack who calls an operation: the user's line, the layer, the loss."""

from __future__ import annotations

import os
from collections.abc import Iterator
from types import FrameType
from typing import Any

import keras

from evengrad.adapters.common.source import is_own, where
from evengrad.adapters.keras.born.ledger import CallSite

_LOSSES = os.path.join("keras", "src", "losses", "losses.py")
_OUTPUTS = ("pred", "out", "logit", "hat", "prob")
_WRAPPERS = {"__call__", "call", "error_handler", "op_dispatch_handler", "wrapper", "compute_loss"}


def outwards(frame: FrameType | None) -> Iterator[FrameType]:
    """A frame and those that called it."""
    while frame is not None:
        yield frame
        frame = frame.f_back


def site(frame: FrameType | None, layer: str | None, variable: str | None) -> CallSite:
    """Of an operation that is called in this frame."""
    functions, loss = [], None
    for one in outwards(frame):
        code = one.f_code
        if is_own(code.co_filename):
            break
        if code.co_filename.endswith(_LOSSES) and code.co_name not in _WRAPPERS:
            loss = code.co_name
        if code.co_name not in _WRAPPERS:
            functions.append(code.co_name)
    return CallSite(where(frame), tuple(reversed(functions)), layer, loss, variable)


def named(frame: FrameType | None, is_it: Any) -> tuple[str, str] | None:
    """Role and name of a tensor of the batch: by ``train_step``'s data, else by the user's own variable.

    Args:
        frame: where it is read.
        is_it: whether a value is that tensor.
    """
    own = None
    for one in outwards(frame):
        if one.f_code.co_name == "train_step" and "data" in one.f_locals:
            found = _of_data(one.f_locals["data"], one.f_locals.get("self"), is_it)
            if found is not None:
                return found
        if own is None and is_own(one.f_code.co_filename):
            own = next((n for n, v in one.f_locals.items() if is_it(v)), None)
    return None if own is None else (_role(own), own)


def _of_data(data: Any, model: Any, is_it: Any) -> tuple[str, str] | None:
    x, y, weight = keras.utils.unpack_x_y_sample_weight(data)
    for role, word, part in (
        ("batch", "x", x),
        ("targets", "y", y),
        ("batch", "sample_weight", weight),
    ):
        leaves = keras.tree.flatten(part)
        found = next((i for i, v in enumerate(leaves) if is_it(v)), None)
        if found is not None:
            return role, _name_of(model, word, part, found) if len(leaves) > 1 else word
    return None


def _name_of(model: Any, word: str, part: Any, place: int) -> str:
    if isinstance(part, dict):
        return f"{word}[{sorted(part)[place]!r}]"
    return _input_name(model, place) if word == "x" else f"{word}[{place}]"


def _input_name(model: Any, place: int) -> str:
    names = [t.name for t in getattr(model, "inputs", None) or ()]
    return str(names[place]) if place < len(names) else f"x[{place}]"


def _role(name: str) -> str:
    word = name.lower()
    if any(part in word for part in _OUTPUTS):
        return "output"
    return "targets" if word.startswith(("y", "label", "target", "mask")) else "batch"


def in_loss(frame: FrameType | None) -> bool:
    """Whether a frame is called by one of Keras' losses."""
    return any(
        "losses" in os.path.dirname(f.f_code.co_filename).split(os.sep) for f in outwards(frame)
    )
