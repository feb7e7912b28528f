"""``evengrad forecast``: a model's budget from its architecture alone."""

from __future__ import annotations

import importlib
import os
import sys
import sysconfig
from pathlib import Path
from types import TracebackType
from typing import Annotated, Any

import typer
from rich.console import Console

from evengrad.cli import files
from evengrad.cli.command import ExitStatus
from evengrad.errors import CannotCheckError, EvengradError
from evengrad.values.message import msg
from evengrad.verbs.forecast import InputShapes
from evengrad.verbs.forecast import forecast as make

OPTIONS = {"no_args_is_help": True}


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
    """Forecast a model's gradients from its architecture alone.

    Needs no data, runs nothing and makes no weights. Prints the budget that a probe would measure, with a 95%
    band over seeds, and which initialisation would make it even.

    Examples:
    - evengrad forecast nets:resnet --input 3,224,224

    - evengrad forecast package.module:build_transformer --input 1024 --dtype int64 --batch 8

    Exit status: 0 even, 1 findings, 2 could not forecast or write.
    """
    files.expect_writable(html, json)
    try:
        found = make(_named(model), _shapes(inputs), batch_size=batch, dtype=dtype)
    except EvengradError:
        raise
    except Exception as error:
        theirs = _in_their_code(error)
        if theirs is None:
            raise
        sys.excepthook(type(error), error.with_traceback(theirs), theirs)
        raise CannotCheckError(
            msg("{model} failed (its own traceback is above).", model=model)
        ) from None
    from evengrad.report import expected, text
    from evengrad.report import html as pages
    from evengrad.report import json as machine

    lines = expected.initialisation(found.initialisation)
    Console(highlight=False).print(text.panel(found.check, lines))
    if not files.write_results(
        html, lambda: pages.render(found.check), json, lambda: machine.dumps(found.check)
    ):
        raise typer.Exit(ExitStatus.CANNOT)
    raise typer.Exit(ExitStatus.FINDINGS if found.findings else ExitStatus.HEALTHY)


def _in_their_code(error: Exception) -> TracebackType | None:
    """The traceback from the first frame of the user's own code on; None where there is none."""
    libraries = (
        str(Path(__file__).parents[1]),
        *map(sysconfig.get_path, ("stdlib", "purelib", "platlib")),
    )
    trace = error.__traceback__
    while trace is not None:
        name = trace.tb_frame.f_code.co_filename
        if not name.startswith((*libraries, "<frozen")):
            return trace
        trace = trace.tb_next
    return None


def _named(where: str) -> Any:
    """What a "package.module:name" stands for, the current folder searched first."""
    module, colon, name = where.partition(":")
    if not colon or not module or not name:
        raise CannotCheckError(
            msg(
                "Expected MODEL as package.module:name, got {where!r}; for example nets:build_model, "
                "where nets.py is in this folder.",
                where=where,
            )
        )
    if os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())
    try:
        found: Any = importlib.import_module(module.removesuffix(".py").replace("/", "."))
        for part in name.split("."):
            found = getattr(found, part)
    except ImportError as error:
        raise CannotCheckError(
            msg("{module} could not be imported: {error}.", module=module, error=error)
        ) from None
    except AttributeError:
        raise CannotCheckError(
            msg(
                "{module} has no {name}. Expected a model or a function that builds one.",
                module=module,
                name=name,
            )
        ) from None
    return found


def _shapes(inputs: list[str] | None) -> InputShapes | None:
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
            msg("Expected --input as whole numbers such as 3,224,224, got {given!r}.", given=given)
        ) from None
