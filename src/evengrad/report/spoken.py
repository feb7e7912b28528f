"""What a terminal is told, in the language in use."""

from __future__ import annotations

from collections.abc import Iterable

from rich.cells import cell_len
from rich.text import Text

from evengrad.values.message import translated


def spoken(text: object, style: str = "") -> Text:
    """A message or a name for a Rich console."""
    return Text(str(translated(text)), style=style)


def written(lines: Iterable[str]) -> str:
    """Lines as one text."""
    return "\n".join(str(translated(line)) for line in lines) + "\n"


def width(text: object) -> int:
    """The columns that it takes; a Chinese character takes two."""
    return cell_len(str(translated(text)))


def padded(text: object, columns: int) -> str:
    """Filled up with blanks to so many columns."""
    return str(translated(text)) + " " * max(columns - width(text), 0)
