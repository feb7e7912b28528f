"""``--lang`` of every command: the language of what is said, of reports and of help."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Annotated, Any

import typer

from evengrad.values.message import LANGUAGES, choose


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
