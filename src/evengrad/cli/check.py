"""``evengrad check``: each training of the user's script, probed at its first step and judged."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from evengrad.cli import files
from evengrad.cli.command import ExitStatus, ScriptCommand, own_status, say, say_missing
from evengrad.cli.ranking import by_weight, numbered
from evengrad.values.message import msg, translated
from evengrad.verbs.births import Script, with_birth
from evengrad.verbs.check import Check, check_probe
from evengrad.verbs.check_script import (
    PATIENCE,
    ScriptExitedError,
    ScriptFailedError,
    Trainings,
    probe_trainings,
)
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
            help="Largest stable learning rate from ten small steps on the batch (and the Hessian's largest "
            "eigenvalue beside it) instead of 10 forward passes along the coming update.",
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
    fit: Annotated[
        int | None,
        typer.Option(min=1, help="Check this training of SCRIPT alone: its first, its second."),
    ] = None,
    patience: Annotated[
        float,
        typer.Option(
            min=0,
            help="Seconds that SCRIPT may train to come to its other trainings; 0 checks the first alone.",
        ),
    ] = PATIENCE,
    module: Annotated[
        bool, typer.Option("-m", help="SCRIPT is a module's dotted name, as in python -m.")
    ] = False,
) -> None:
    """Probe a training script's gradients before anything is trained.

    Runs SCRIPT unchanged until its first training step, measures one forward and backward pass on its
    own model, loss, optimizer and first batch, says what is wrong, and stops the script there. Where SCRIPT has
    more than one training, it goes on and really trains, for some seconds, and each is measured at its first
    step. Where something is not finite, SCRIPT is run once more up to there, without its output, to find the
    operation and the line where that was born.

    Examples:
    - evengrad check train.py

    - evengrad check train.py --json check.json -- --epochs 3 --lr 0.1

    - evengrad check train.py --fit 2

    - evengrad check -m package.train

    Exit status: 0 healthy, 1 findings, 2 could not check or write; the script's own where it exited before.
    """
    page = None if no_html else html or folder / f"check-{_stem(script, module)}" / "report.html"
    files.expect_writable(page, json)
    again = Script(script, arguments or [], module, Beginnings(), rerun, say)
    with _own_end(script), _spinner() as starting:
        found = probe_trainings(
            script,
            arguments or [],
            module=module,
            precise=precise,
            starting=starting,
            fit=fit,
            patience=patience,
        )
    checks = _judged(found, again, time.time() - again.beginnings.time)
    _show(checks, found)
    if not _write(checks, page, json):
        raise typer.Exit(ExitStatus.CANNOT)
    healthy = all(check.healthy for check in checks)
    raise typer.Exit(ExitStatus.HEALTHY if healthy else ExitStatus.FINDINGS)


def _judged(found: Trainings, script: Script, seconds: float) -> list[Check]:
    """Each training's check; the birth of what is not finite is looked for once."""
    checks = [check_probe(with_birth(found.probes[0], script, seconds))]
    born = len(checks[0].probe.facts) > len(found.probes[0].facts)
    for probe in found.probes[1:]:
        later = replace(script, throughout=True, rerun=False if born else script.rerun)
        known = with_birth(probe, later, seconds)
        born = born or len(known.facts) > len(probe.facts)
        checks.append(check_probe(known))
    return checks


def _show(checks: list[Check], found: Trainings) -> None:
    """In the script's order; what an earlier one had, too, in a line."""
    from evengrad.report import text, trainings

    screen, several = Console(highlight=False), len(checks) > 1
    for number, check in enumerate(checks):
        same = trainings.told_before(check, checks[:number])
        if same is not None:
            screen.print(translated(trainings.again(check, same)), markup=False)
            continue
        if several:
            screen.print(translated(trainings.heading(check)), markup=False, style="bold")
        screen.print(text.panel(check))
        if several:
            screen.print()
    for line in trainings.summary(checks, found.ahead, found.seconds, found.trouble):
        screen.print(translated(line), markup=False)


def _write(checks: list[Check], page: Path | None, json: Path | None) -> bool:
    """The paths that were asked for are those of the worst. Returns whether all was written."""
    from evengrad.report import html as pages
    from evengrad.report import json as machine

    places = by_weight([check.findings for check in checks])
    written = True
    for check, place in sorted(zip(checks, places, strict=True), key=lambda pair: pair[1]):
        written &= files.write_results(
            numbered(page, place),
            partial(pages.render, check),
            json if place == 1 else None,
            partial(machine.dumps, check, checks),
        )
    return written


@contextmanager
def _own_end(script: str) -> Iterator[None]:
    """What Python itself would have printed of a script that ends before it trains, and its status."""
    try:
        yield
        return
    except ScriptFailedError as error:
        sys.excepthook(type(error.cause), error.cause, error.cause.__traceback__)
        say(
            msg(
                "{script} failed before its first training step (its own traceback is above).",
                script=script,
            )
        )
        say_missing(error.missing)
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
    say(
        msg(
            "{script} exited before its first training step (sys.exit({code!r})).",
            script=script,
            code=code,
        )
    )
    own = own_status(code)
    return ExitStatus.CANNOT if own is None else own


@contextmanager
def _spinner() -> Iterator[Callable[[], None]]:
    """Yields what starts a spinner on stderr; stops it at the end."""
    status = Console(stderr=True).status(
        translated(msg("evengrad: measuring the gradients of the first batch"))
    )
    try:
        yield status.start
    finally:
        status.stop()


def _stem(script: str, module: bool) -> str:
    return script.replace(".", "-") if module else Path(script).stem
