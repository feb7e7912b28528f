"""``evengrad check``: the user's script, up to its first training step, probed and judged."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from evengrad.cli import files
from evengrad.cli.command import ExitStatus, ScriptCommand, own_status, say
from evengrad.values.probe import Probe
from evengrad.verbs.births import Script, with_birth
from evengrad.verbs.check import check_probe
from evengrad.verbs.check_script import ScriptExitedError, ScriptFailedError, probe_script
from evengrad.verbs.host import own_frames
from evengrad.verbs.inquire import Beginnings

OPTIONS = {"cls": ScriptCommand, "no_args_is_help": True}


def check(
    script: Annotated[str, typer.Argument(help="The training script, or a module with -m.")],
    arguments: Annotated[
        list[str] | None, typer.Argument(help="The script's own arguments, after --.")
    ] = None,
    folder: Annotated[Path, typer.Option(help="Where check-SCRIPT/report.html goes.")] = Path(
        "runs"
    ),
    html: Annotated[
        Path | None, typer.Option(help="Write the HTML report here instead of in the folder.")
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
    rerun: Annotated[
        bool | None,
        typer.Option(
            "--rerun/--no-rerun",
            help="Where something is not finite, run SCRIPT once more to find the operation where that began. "
            "By default only where that takes less than two minutes.",
        ),
    ] = None,
    module: Annotated[
        bool, typer.Option("-m", help="SCRIPT is a module's dotted name, as in python -m.")
    ] = False,
) -> None:
    """Probe a training script's gradients before anything is trained.

    Runs SCRIPT unchanged until its first training step, measures one forward and backward pass on its
    own model, loss, optimizer and first batch, says what is wrong, and stops the script there. Where something
    is not finite, SCRIPT is run once more up to there, without its output, to find the operation and the line
    where that was born.

    Examples:
    - evengrad check train.py

    - evengrad check train.py --json check.json -- --epochs 3 --lr 0.1

    - evengrad check -m package.train

    Exit status: 0 healthy, 1 findings, 2 could not check or write; the script's own where it exited before.
    """
    page = None if no_html else html or folder / f"check-{_stem(script, module)}" / "report.html"
    files.expect_writable(page, json)
    again = Script(script, arguments or [], module, Beginnings(), rerun, say)
    probe = _probe(script, arguments or [], module, precise)
    result = check_probe(with_birth(probe, again, time.time() - again.beginnings.time))
    from evengrad.report import html as pages
    from evengrad.report import json as machine
    from evengrad.report import text

    Console(highlight=False).print(text.panel(result))
    if not files.write_results(
        page, lambda: pages.render(result), json, lambda: machine.dumps(result)
    ):
        raise typer.Exit(ExitStatus.CANNOT)
    raise typer.Exit(ExitStatus.HEALTHY if result.healthy else ExitStatus.FINDINGS)


def _probe(script: str, arguments: list[str], module: bool, precise: bool) -> Probe:
    try:
        with _spinner() as starting:
            return probe_script(
                script, arguments, module=module, precise=precise, starting=starting
            )
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
        raise typer.Exit(ExitStatus.INTERRUPTED) from None
    raise typer.Exit(ExitStatus.CANNOT)


def _exit_code(script: str, code: object) -> int:
    """The script's own exit status, unless that would read as one of ours."""
    if code is not None and not isinstance(code, int):
        print(code, file=sys.stderr)
    say(f"{script} exited before its first training step (sys.exit({code!r})).")
    own = own_status(code)
    return ExitStatus.CANNOT if own is None else own


@contextmanager
def _spinner() -> Iterator[Callable[[], None]]:
    """Yields what starts a spinner on stderr; stops it at the end."""
    status = Console(stderr=True).status("evengrad: measuring the gradients of the first batch")
    try:
        yield status.start
    finally:
        status.stop()


def _stem(script: str, module: bool) -> str:
    return script.replace(".", "-") if module else Path(script).stem
