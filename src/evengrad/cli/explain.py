"""``evengrad explain``: what a finding means, how it is decided, what to do."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape

from evengrad.diagnosis.catalogue import explanations
from evengrad.errors import EvengradError


def explain(
    code: Annotated[
        str | None, typer.Argument(help="A finding's code, such as EG101; none lists them all.")
    ] = None,
) -> None:
    """Explain a finding: what it means, how it is decided, what to do.

    Examples:
    - evengrad explain: all findings, a line each

    - evengrad explain EG102: one of them
    """
    out = Console(highlight=False)
    known = explanations()
    if code is None:
        for one, text in known.items():
            out.print(f"[bold]{one}[/]  {escape(text.splitlines()[0].removeprefix(f'{one} '))}")
        return
    found = known.get(code.upper())
    if found is None:
        raise EvengradError(f"No finding has the code {code!r}. The codes are {', '.join(known)}.")
    title, *paragraphs = found.split("\n\n")
    out.print(f"[bold]{escape(title)}[/]")
    for paragraph in paragraphs:
        out.print(f"\n{escape(' '.join(paragraph.split()))}")
