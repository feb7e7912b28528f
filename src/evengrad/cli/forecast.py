"""``evengrad forecast``: a model's budget from its architecture alone."""

from __future__ import annotations

import importlib
import os
import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from evengrad.cli.check import Status, say, write
from evengrad.errors import CannotCheckError, EvengradError
from evengrad.verbs.forecast import Forecast, Inputs
from evengrad.verbs.forecast import forecast as make


def forecast(
    model: Annotated[
        str,
        typer.Argument(help="package.module:name, a model or a function that builds one."),
    ],
    inputs: Annotated[
        list[str] | None,
        typer.Option(
            "--input",
            help="Shape of one sample: 3,224,224; with a name: ids=128. Once for each input.",
        ),
    ] = None,
    batch: Annotated[int, typer.Option(help="Samples in a batch.")] = 32,
    dtype: Annotated[
        str | None,
        typer.Option(help="int64 for token ids.  [default: float32, or what works]"),
    ] = None,
    html: Annotated[Path | None, typer.Option(help="Write the HTML report here.")] = None,
    json: Annotated[Path | None, typer.Option(help="Write the result for machines here.")] = None,
) -> None:
    """Forecast a model's gradients from its architecture: no data, no run, no memory for weights.

    Prints the budget that a probe would measure, with a 95% band over seeds, and which initialisation
    would make it even.

    Examples:
    - evengrad forecast nets:resnet --input 3,224,224

    - evengrad forecast package.module:build_transformer --input 1024 --dtype int64 --batch 8

    Exit status: 0 even, 1 findings, 2 could not forecast.
    """
    try:
        found = make(_named(model), _shapes(inputs), batch_size=batch, dtype=dtype)
    except EvengradError as error:
        say(str(error))
        raise typer.Exit(Status.COULD_NOT_CHECK) from None
    _show(found)
    write(found.check, html, json)
    raise typer.Exit(Status.FINDINGS if found.findings else Status.HEALTHY)


def _show(found: Forecast) -> None:
    from evengrad.report import expected, text

    lines = expected.initialisation(found.initialisation)
    Console(highlight=False).print(text.panel(found.check, lines))


def _named(where: str) -> Any:
    """What a "package.module:name" stands for, the current folder searched first."""
    module, colon, name = where.partition(":")
    if not colon or not module or not name:
        raise CannotCheckError(
            f"Expected MODEL as package.module:name, got {where!r}; for example nets:build_model, "
            "where nets.py is in this folder."
        )
    if os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())
    try:
        found: Any = importlib.import_module(module.removesuffix(".py").replace("/", "."))
        for part in name.split("."):
            found = getattr(found, part)
    except ImportError as error:
        raise CannotCheckError(f"{module} could not be imported: {error}.") from None
    except AttributeError:
        raise CannotCheckError(
            f"{module} has no {name}. Expected a model or a function that builds one."
        ) from None
    return found


def _shapes(inputs: list[str] | None) -> Inputs | None:
    if not inputs:
        return None
    named = [part.partition("=") for part in inputs]
    if any(sign for _, sign, _ in named):
        return {
            name: _shape(shape, text) for (name, _, shape), text in zip(named, inputs, strict=True)
        }
    shapes = [_shape(part, part) for part in inputs]
    return shapes[0] if len(shapes) == 1 else shapes


def _shape(text: str, given: str) -> tuple[int, ...]:
    try:
        return tuple(int(n) for n in text.replace("x", ",").split(",") if n.strip())
    except ValueError:
        raise CannotCheckError(
            f"Expected --input as whole numbers such as 3,224,224, got {given!r}."
        ) from None
