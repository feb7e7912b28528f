"""Edits of a text."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass


class Clash(Exception):
    """Two edits change the same stretch of the text."""


@dataclass(frozen=True, slots=True)
class Edit:
    """``text`` instead of what stands from ``start`` to ``stop``."""

    start: int
    stop: int
    text: str


def made(text: str, edits: Iterable[Edit]) -> str:
    """The text with the edits in it. Raises Clash."""
    result, at = [], 0
    for edit in sorted(edits, key=lambda e: (e.start, e.stop)):
        if edit.start < at:
            raise Clash
        result += [text[at : edit.start], edit.text]
        at = edit.stop
    return "".join([*result, text[at:]])


def split(text: str) -> list[str]:
    """The lines as Python counts them: a form feed or a Unicode separator ends none."""
    return re.split(r"\r\n|\n|\r", text)
