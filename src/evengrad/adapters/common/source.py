"""The user's own line: which frame is the script's, and what stands there."""

from __future__ import annotations

import itertools
import linecache
import os
import site
import sys
import sysconfig
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from types import CodeType, FrameType
from typing import Any

from evengrad.values.fact import Where

_OURS = os.path.dirname(os.path.dirname(os.path.dirname(__file__)))
_LIBRARIES = tuple(
    path + os.sep
    for path in {
        _OURS,
        sysconfig.get_path("stdlib"),
        sysconfig.get_path("platstdlib"),
        sysconfig.get_path("purelib"),
        sysconfig.get_path("platlib"),
        *site.getsitepackages(),
        site.getusersitepackages(),
    }
)
_LONGEST = 160


@cache
def is_own(file: str) -> bool:
    """Whether a file is the user's: no library's, no part of Python, none of ours."""
    if file.startswith("<"):  # a notebook's cell has lines, what was made by exec has none
        return bool(linecache.getlines(file))
    path = os.path.abspath(file)
    parts = path.split(os.sep)
    return not path.startswith(_LIBRARIES) and not {"site-packages", "dist-packages"} & {*parts}


def own_frame(frame: FrameType | None = None) -> FrameType | None:
    """The innermost frame of the user's code, from this one (the caller's) outwards."""
    return next(own_frames(sys._getframe(1) if frame is None else frame), None)


def own_frames(frame: FrameType) -> Iterator[FrameType]:
    """The frames of the user's code, from this one outwards."""
    at: FrameType | None = frame
    while at is not None:
        if is_own(at.f_code.co_filename):
            yield at
        at = at.f_back


def where(frame: FrameType | None = None) -> Where | None:
    """The user's line that is being executed, with the expression in it that is; None outside of any.

    Args:
        frame: where to begin to look, outwards; the caller's by default.
    """
    found = spot(sys._getframe(1) if frame is None else frame)
    return None if found is None else found.where()


@dataclass(frozen=True, slots=True, eq=False)
class Spot:
    """A place in the user's code that is being executed, kept without its frame.

    Attributes:
        code: of the function.
        instruction: index in its bytecode, in bytes.
        line: from 1.
        names: the module's globals.
    """

    code: CodeType
    instruction: int
    line: int
    names: dict[str, Any]

    def where(self) -> Where:
        """For the user to read."""
        file = self.code.co_filename
        return Where(shown(file), self.line, _expression(self.code, self.instruction, self.line))


def spot(frame: FrameType | None = None) -> Spot | None:
    """Where the user's code is now; None outside of any. frame: as for ``where``."""
    found = own_frame(sys._getframe(1) if frame is None else frame)
    if found is None:
        return None
    return Spot(found.f_code, found.f_lasti, found.f_lineno, found.f_globals)


def shown(file: str) -> str:
    """A file as the user knows it: relative where it lies below the working folder."""
    if file.startswith("<"):
        return file
    relative = os.path.relpath(file)
    return file if relative.startswith(os.pardir) else relative


def _expression(code: CodeType, instruction: int, number: int) -> str:
    """What is being called or computed, by the positions that Python keeps of its bytecode; else the line."""
    file = code.co_filename
    line = linecache.getline(file, number).strip()
    place = next(itertools.islice(code.co_positions(), instruction // 2, None), None)
    if place is None or None in place:
        return line[:_LONGEST]
    first, last, begin, end = place
    if first is None or first != last:
        return line[:_LONGEST]
    text = linecache.getline(file, first).encode()[begin:end].decode(errors="replace").strip()
    return (text or line)[:_LONGEST]
