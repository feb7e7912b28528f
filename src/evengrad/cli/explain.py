"""``evengrad explain``: what a finding means, how it is decided, what to do."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape

from evengrad.rules import all_rules, explanation


def explain(
    code: Annotated[
        str | None, typer.Argument(help="A finding's code, such as EG101; none lists them all.")
    ] = None,
) -> None:
    """Explain a finding: what it finds, why it matters, how it decides, what to do.

    Examples:
    - evengrad explain: all findings, a line each

    - evengrad explain EG102: one of them
    """
    out = Console(highlight=False)
    if code is None:
        for rule in all_rules():
            title = rule.explanation.splitlines()[0].removeprefix(f"{rule.code} ")
            out.print(f"[bold]{rule.code}[/]  {escape(title)}")
        return
    try:
        text = explanation(code)
    except KeyError:
        known = ", ".join(rule.code for rule in all_rules())
        typer.echo(f"evengrad: no finding has the code {code!r}. The codes are {known}.", err=True)
        raise typer.Exit(2) from None
    title, *paragraphs = text.split("\n\n")
    out.print(f"[bold]{escape(title)}[/]")
    for paragraph in paragraphs:
        out.print(f"\n{escape(' '.join(paragraph.split()))}")
