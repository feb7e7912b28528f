"""``evengrad run``: the user's script, unchanged, watched to its end."""

from __future__ import annotations

import sys
from enum import IntEnum
from pathlib import Path
from typing import Annotated

import typer

from evengrad.cli.check import say
from evengrad.cli.live import viewing
from evengrad.cli.report import show, write
from evengrad.diagnosis.diagnose import judge_run
from evengrad.errors import EvengradError
from evengrad.recording.reader import load
from evengrad.recording.settings import settings_of
from evengrad.values.finding import Finding
from evengrad.values.run import Run
from evengrad.verbs.host import own_frames
from evengrad.verbs.run_script import Outcome, run_script


class Status(IntEnum):
    """Exit statuses of ``evengrad run``, beside the script's own where it failed."""

    HEALTHY = 0
    FINDINGS = 1
    COULD_NOT_WATCH = 2
    STOPPED = 3
    INTERRUPTED = 130


def run(
    script: Annotated[str, typer.Argument(help="The training script, or a module with -m.")],
    arguments: Annotated[
        list[str] | None, typer.Argument(help="The script's own arguments, after --.")
    ] = None,
    clip: Annotated[
        str | None,
        typer.Option(
            help="Clip the gradients: a bound for their norm (1.0), auto, or another kind (agc, zscore, "
            "percentile:10, ...)."
        ),
    ] = None,
    guard: Annotated[
        str,
        typer.Option(
            help="What to do before a step that would spoil the weights: stop, skip:3, rollback:2 or off."
        ),
    ] = "stop",
    no_guard: Annotated[
        bool, typer.Option("--no-guard", help="Hold nothing back; the same as --guard off.")
    ] = False,
    every: Annotated[int, typer.Option(help="Steps between two that are read in full.")] = 10,
    runs: Annotated[Path, typer.Option(help="Where to write the run.")] = Path("runs"),
    html: Annotated[
        Path | None,
        typer.Option(help="Where to write the report.  [default: report.html beside the run]"),
    ] = None,
    no_html: Annotated[bool, typer.Option("--no-html", help="Write no HTML report.")] = False,
    json: Annotated[Path | None, typer.Option(help="Write the result for machines here.")] = None,
    module: Annotated[
        bool, typer.Option("-m", help="SCRIPT is a module's dotted name, as in python -m.")
    ] = False,
) -> None:
    """Run a training script to its end, and watch its gradients.

    Runs SCRIPT unchanged, records every step in runs/TIME-SCRIPT/run.sqlite, shows the gradients while it
    trains, and says at the end what went wrong. A step with NaN, or one that would overwrite the weights, is
    held back before it reaches them.

    Examples:
    - evengrad run train.py

    - evengrad run train.py --clip auto --guard skip:3 -- --epochs 3 --lr 0.1

    - evengrad run -m package.train

    Exit status: 0 healthy, 1 findings, 2 could not watch, 3 stopped by the guard, 130 interrupted; the
    script's own where it failed.
    """
    try:
        chosen = settings_of(clip, None if no_guard else guard, every, runs, "run")
        with viewing() as view:
            outcome = run_script(
                script, arguments or [], module=module, settings=chosen, listener=view
            )
    except EvengradError as error:
        say(str(error))
        raise typer.Exit(Status.COULD_NOT_WATCH) from None
    _own_words(outcome)
    found = _judged(outcome)
    _tell(found, html, json, no_html)
    if outcome.stopped is not None:
        say(str(outcome.stopped))
    raise typer.Exit(_status(script, outcome, found))


def _own_words(outcome: Outcome) -> None:
    """What Python itself would have printed of the script's end."""
    error = outcome.error
    if error is not None:
        own = own_frames(error.__traceback__)
        sys.excepthook(type(error), error.with_traceback(own), own)
    if outcome.code is not None and not isinstance(outcome.code, int):
        print(outcome.code, file=sys.stderr)


def _judged(outcome: Outcome) -> list[tuple[Run, tuple[Finding, ...]]]:
    """The runs with a step in them, with their findings."""
    found = []
    for path in outcome.runs:
        try:
            one = load(path)
        except EvengradError as error:
            say(str(error))
            continue
        if len(one.steps["step"]):
            found.append((one, judge_run(one)))
    return found


def _tell(
    found: list[tuple[Run, tuple[Finding, ...]]],
    html: Path | None,
    json: Path | None,
    no_html: bool,
) -> None:
    for number, (one, findings) in enumerate(found, start=1):
        show(one, findings)
        page = None if no_html else _numbered(html, number) or one.path.parent / "report.html"
        write(one, findings, page, _numbered(json, number))
        print(f"run:    {one.path.parent}")


def _numbered(path: Path | None, number: int) -> Path | None:
    """The first run's as it was asked for; the others' beside it."""
    if path is None or number == 1:
        return path
    return path.with_stem(f"{path.stem}-{number}")


def _status(script: str, outcome: Outcome, found: list[tuple[Run, tuple[Finding, ...]]]) -> int:
    if isinstance(outcome.error, KeyboardInterrupt):
        return Status.INTERRUPTED
    if outcome.stopped is not None:
        return Status.STOPPED
    if outcome.error is not None:
        return 1
    if outcome.code not in (None, 0):
        return outcome.code if isinstance(outcome.code, int) else 1
    if not found:
        say(_unseen(script, outcome))
        return Status.COULD_NOT_WATCH
    return Status.FINDINGS if any(findings for _, findings in found) else Status.HEALTHY


def _unseen(script: str, outcome: Outcome) -> str:
    if outcome.watched:
        return f"{script} ran to its end, but there is no run file with a step in it to judge."
    return (
        f"{script} ran to its end without a training step that evengrad can see. Expected Keras "
        "`model.fit(...)`, or `loss.backward()` and `optimizer.step()` in PyTorch. For another kind of "
        "loop use `with evengrad.watch(model, optimizer):` in the script."
    )
