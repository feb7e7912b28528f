"""Reads from Python's stack who calls an operation: the user's line, the layer, the loss."""

from __future__ import annotations

import itertools
import linecache
import os
from collections.abc import Iterator, Sequence
from types import CodeType, FrameType
from typing import Any

import keras

from evengrad.adapters.common.source import is_own, shown, where
from evengrad.adapters.keras.born.ledger import CallSite
from evengrad.values.fact import Where

_LOSSES = os.path.join("keras", "src", "losses", "losses.py")
_LONGEST = 160
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


def site_of(place: Sequence[tuple[CodeType, int]], layer: str | None) -> CallSite:
    """The same of codes with their last instructions, as a backend keeps them, the innermost first."""
    functions, loss, found = [], None, None
    for code, instruction in place:
        if is_own(code.co_filename):
            found = _where(code, instruction)
            break
        if code.co_filename.endswith(_LOSSES) and code.co_name not in _WRAPPERS:
            loss = code.co_name
        if code.co_name not in _WRAPPERS:
            functions.append(code.co_name)
    return CallSite(found, tuple(reversed(functions)), layer, loss)


def _where(code: CodeType, instruction: int) -> Where:
    places = itertools.islice(code.co_positions(), instruction // 2, None)
    first, last, begin, end = next(places, (None, None, None, None))
    number = first or code.co_firstlineno
    line = linecache.getline(code.co_filename, number)
    text = line.encode()[begin:end].decode(errors="replace") if first == last else line
    return Where(shown(code.co_filename), number, (text.strip() or line.strip())[:_LONGEST])


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
