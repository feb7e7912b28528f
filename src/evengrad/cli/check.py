"""``evengrad check``: the user's script, up to its first training step, probed and judged."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import IntEnum
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from typer.core import TyperCommand

from evengrad.errors import EvengradError
from evengrad.values.probe import Probe
from evengrad.verbs.check import Check, diagnose
from evengrad.verbs.check_script import ScriptExitedError, ScriptFailedError, probe_script
from evengrad.verbs.host import own_frames


class Status(IntEnum):
    """Exit statuses of ``evengrad check``."""

    HEALTHY = 0
    FINDINGS = 1
    COULD_NOT_CHECK = 2
    INTERRUPTED = 130


class CheckCommand(TyperCommand):
    """Tells where the script's own options go."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """As usual, with a hint under an unknown option."""
        try:
            return super().parse_args(ctx, args)
        except Exception as error:
            if type(error).__name__ == "NoSuchOption":
                error.message += (  # type: ignore[attr-defined]
                    ". Options of the script itself go after --, as in: "
                    f"evengrad {ctx.info_name} train.py -- --epochs 3"
                )
            raise


def check(
    script: Annotated[str, typer.Argument(help="The training script, or a module with -m.")],
    arguments: Annotated[
        list[str] | None, typer.Argument(help="The script's own arguments, after --.")
    ] = None,
    html: Annotated[
        Path | None,
        typer.Option(help="Where to write the report.  [default: evengrad-SCRIPT.html]"),
    ] = None,
    no_html: Annotated[bool, typer.Option("--no-html", help="Write no HTML report.")] = False,
    json: Annotated[Path | None, typer.Option(help="Write the result for machines here.")] = None,
    precise: Annotated[
        bool,
        typer.Option(
            "--precise",
            help="Largest stable learning rate from the Hessian's largest eigenvalue (some 20 backward "
            "passes) instead of 10 forward passes along the coming update.",
        ),
    ] = False,
    module: Annotated[
        bool, typer.Option("-m", help="SCRIPT is a module's dotted name, as in python -m.")
    ] = False,
) -> None:
    """Probe a training script's gradients before anything is trained.

    Runs SCRIPT unchanged until its first training step, measures one forward and backward pass on its
    own model, loss, optimizer and first batch, says what is wrong, and stops the script there.

    Examples:
    - evengrad check train.py

    - evengrad check train.py --json check.json -- --epochs 3 --lr 0.1

    - evengrad check -m package.train

    Exit status: 0 healthy, 1 findings, 2 could not check.
    """
    probe = _probe(script, arguments or [], module, precise)
    result = diagnose(probe)
    page = None if no_html else html or Path(f"evengrad-{_stem(script, module)}.html")
    _show(result)
    write(result, page, json)
    raise typer.Exit(Status.HEALTHY if result.healthy else Status.FINDINGS)


def _probe(script: str, arguments: list[str], module: bool, precise: bool) -> Probe:
    try:
        with _spinner() as starting:
            return probe_script(
                script, arguments, module=module, precise=precise, starting=starting
            )
    except EvengradError as error:
        say(str(error))
    except ScriptFailedError as error:
        sys.excepthook(type(error.cause), error.cause, error.cause.__traceback__)
        say(f"{script} failed before its first training step (its own traceback is above).")
        if error.missing is not None:
            say(f"To install what it misses: pip install 'evengrad[{error.missing}]'")
    except ScriptExitedError as error:
        raise typer.Exit(_exit_code(script, error.code)) from None
    except KeyboardInterrupt as interrupt:
        own = own_frames(interrupt.__traceback__)
        sys.excepthook(type(interrupt), interrupt.with_traceback(own), own)
        raise typer.Exit(Status.INTERRUPTED) from None
    raise typer.Exit(Status.COULD_NOT_CHECK)


def _exit_code(script: str, code: object) -> int:
    """The script's own exit status, unless that would read as a verdict of ours."""
    if code is not None and not isinstance(code, int):
        print(code, file=sys.stderr)
    say(f"{script} exited before its first training step (sys.exit({code!r})).")
    if isinstance(code, int) and code not in (Status.HEALTHY, Status.FINDINGS):
        return code
    return Status.COULD_NOT_CHECK


@contextmanager
def _spinner() -> Iterator[Callable[[], None]]:
    """Yields what starts a spinner on stderr; stops it at the end."""
    status = Console(stderr=True).status("evengrad: measuring the gradients of the first batch")
    try:
        yield status.start
    finally:
        status.stop()


def write(result: Check, page: Path | None, data: Path | None) -> None:
    """The HTML report and the JSON, where a path is given."""
    from evengrad.report import html
    from evengrad.report import json as machine

    try:
        if data is not None:
            data.parent.mkdir(parents=True, exist_ok=True)
            data.write_text(machine.dumps(result), encoding="utf-8")
        if page is not None:
            page.parent.mkdir(parents=True, exist_ok=True)
            page.write_text(html.render(result), encoding="utf-8")
            print(f"report: {page}")
    except OSError as error:
        say(f"cannot write {error.filename}: {error.strerror}")
        raise typer.Exit(Status.COULD_NOT_CHECK) from None


def _show(result: Check) -> None:
    from evengrad.report import text

    Console(highlight=False).print(text.panel(result))


def say(message: str) -> None:
    """A line of our own, on stderr."""
    print(f"evengrad: {message}", file=sys.stderr)


def _stem(script: str, module: bool) -> str:
    return script.replace(".", "-") if module else Path(script).stem
