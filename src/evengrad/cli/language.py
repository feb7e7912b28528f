"""``--lang`` of every command: the language of what is said, of reports and of help."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterator
from typing import Annotated, Any

import typer
from typer.core import TyperCommand

from evengrad.values.message import LANGUAGES, choose, known_text


def _speak(name: str | None) -> str | None:
    if name is not None:
        try:
            choose(name)
        except ValueError as error:
            raise typer.BadParameter(str(error)) from None
    return name


Language = Annotated[
    str | None,
    typer.Option(
        "--lang",
        metavar="|".join(LANGUAGES),
        help="The language of what is said. Without it that of EVENGRAD_LANG, else the locale's.",
        callback=_speak,
        is_eager=True,
    ),
]
"""Taken as soon as it is read, so that help and errors are said in it, too."""


def with_language(function: Callable[..., Any]) -> Callable[..., Any]:
    """A command's function with the option ``--lang``."""

    @functools.wraps(function)
    def command(*args: Any, lang: str | None = None, **kwargs: Any) -> Any:  # noqa: ARG001
        return function(*args, **kwargs)

    option = inspect.Parameter(
        "lang", inspect.Parameter.KEYWORD_ONLY, default=None, annotation=Language
    )
    signature = inspect.signature(function, eval_str=True)
    parameters = [*signature.parameters.values(), option]
    command.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
    command.__annotations__ = {one.name: one.annotation for one in parameters}
    return command


class SpokenCommand(TyperCommand):
    """A command that helps in the language in use."""

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """As usual, of translated texts; a process that helps does nothing else."""
        speak(self)
        super().format_help(ctx, formatter)


def speak(command: Any) -> None:
    """Translate the help of a command or a group, of its options and, in a line each, of what it holds."""
    for one in (command, *command.params, *getattr(command, "commands", {}).values()):
        if getattr(one, "help", None):
            one.help = "\n\n".join("\n".join(map(known_text, lines)) for lines in entries(one.help))


def entries(text: str) -> Iterator[list[str]]:
    """The entries of the catalogue in a help text, by paragraph: a paragraph is one line, but for a list."""
    for paragraph in inspect.cleandoc(text).split("\n\n"):
        lines = paragraph.splitlines()
        yield (
            lines if any(line.startswith("- ") for line in lines) else [" ".join(paragraph.split())]
        )
