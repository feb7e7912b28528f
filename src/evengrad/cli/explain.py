"""``evengrad explain``: what a finding means, how it is decided, what to do; and the theory behind it."""

from __future__ import annotations

from importlib import resources
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from evengrad.diagnosis.catalogue import explanations, paragraphs
from evengrad.errors import EvengradError
from evengrad.values.message import CHINESE, known_text, language, msg, translated

_PAGE = "docs/theory.md"
_IN_CHINESE = "docs/zh/theory.md"


def explain(
    code: Annotated[
        str | None,
        typer.Argument(
            help="A finding's code, such as EG101, or theory; without it all findings are listed."
        ),
    ] = None,
) -> None:
    """Explain a finding: what it means, how it is decided, what to do.

    Examples:
    - evengrad explain: all findings, a line each

    - evengrad explain EG102: one of them

    - evengrad explain theory: the formulas and values that findings refer to
    """
    out = Console(highlight=False)
    known = explanations()
    if code is None:
        table = Table.grid(padding=(0, 2))
        for one, text in sorted(known.items()):
            title = known_text(paragraphs(text)[0]).removeprefix(f"{one} ")
            table.add_row(f"[bold]{one}[/]", escape(title.rstrip(".。")))
        out.print(table)
        return
    if code.lower() == "theory":
        from rich.markdown import Markdown

        out.print(Markdown(theory()))
        return
    found = known.get(code.upper())
    if found is None:
        raise EvengradError(
            msg(
                "No finding has the code {code!r}. Expected theory, or one of {known}.",
                code=code,
                known=", ".join(known),
            )
        )
    title, *rest = paragraphs(found)
    out.print(f"[bold]{escape(known_text(title))}[/]")
    for paragraph in rest:
        out.print(f"\n{escape(known_text(paragraph))}")
    if _PAGE in found:
        said = msg("`evengrad explain theory` prints {page}.", page=_PAGE)
        out.print(f"\n{translated(said)}", style="dim")


def theory() -> str:
    """The page on the theory in the language spoken, of the package where it was built, else the checkout."""
    name, page = ("theory.zh.md", _IN_CHINESE) if language() == CHINESE else ("theory.md", _PAGE)
    shipped = resources.files("evengrad.cli").joinpath(name)
    place = shipped if shipped.is_file() else Path(__file__).parents[3] / page
    return place.read_text(encoding="utf-8")
