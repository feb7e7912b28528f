"""How a result shows itself, at a prompt and in a notebook: one screen, whatever it holds."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from html import escape

from evengrad.values.finding import Finding
from evengrad.values.message import joined, msg, translated
from evengrad.values.wording import layers

_LINES = 12
_WIDTH = 110


@dataclass(frozen=True, slots=True)
class Headline:
    """A title, and lines below it."""

    title: str
    lines: tuple[str, ...] = ()


class Displayed:
    """Gives a class ``__repr__`` and the ``_repr_html_`` that notebooks call, both from ``headline``."""

    __slots__ = ()

    def headline(self) -> Headline:
        """What is shown."""
        raise NotImplementedError

    def __repr__(self) -> str:
        shown = self.headline()
        return "\n  ".join(_cut(line) for line in (shown.title, *_few(shown.lines)))

    def _repr_html_(self) -> str:
        shown = self.headline()
        items = "".join(f"<li>{escape(translated(line))}</li>" for line in _few(shown.lines))
        return f"<div><b>{escape(translated(shown.title))}</b>{f'<ul>{items}</ul>' if items else ''}</div>"


def finding_lines(findings: Iterable[Finding]) -> tuple[str, ...]:
    """A line for each."""
    return tuple(
        joined(
            "",
            (f"{one.code} ", msg("error") if one.severity > 1 else msg("warning"), ": ", one.title),
        )
        + (msg(", in {layers}", layers=layers(one.layers)) if one.layers else "")
        for one in findings
    )


def _few(lines: tuple[str, ...]) -> tuple[str, ...]:
    if len(lines) <= _LINES:
        return lines
    return (*lines[: _LINES - 1], f"... and {len(lines) - _LINES + 1} more")


def _cut(line: str) -> str:
    flat = " ".join(line.split())
    return flat if len(flat) <= _WIDTH else f"{flat[: _WIDTH - 3]}..."
