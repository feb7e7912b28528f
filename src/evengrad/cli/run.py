"""``evengrad run``: the user's script, unchanged, watched to its end."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from evengrad.cli import files
from evengrad.cli.command import ExitStatus, ScriptCommand, own_status, say, say_missing
from evengrad.cli.live import viewing
from evengrad.cli.ranking import by_weight, numbered
from evengrad.cli.report import show, write
from evengrad.diagnosis.diagnose import diagnose_run
from evengrad.errors import EvengradError
from evengrad.recording.reader import load
from evengrad.recording.settings import settings_of
from evengrad.values.finding import Finding
from evengrad.values.message import msg, translated
from evengrad.values.run import Run
from evengrad.verbs.births import Script, add_birth
from evengrad.verbs.host import missing_extra, own_frames
from evengrad.verbs.inquire import Beginnings
from evengrad.verbs.run_script import Outcome, run_script

OPTIONS = {"cls": ScriptCommand, "no_args_is_help": True}


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
            help="What to do before a step that would overwrite the weights: stop, skip:3, rollback:2 or off."
        ),
    ] = "stop",
    no_guard: Annotated[
        bool, typer.Option("--no-guard", help="Refuse no step; the same as --guard off.")
    ] = False,
    every: Annotated[int, typer.Option(help="Steps between two that are read in full.")] = 10,
    folder: Annotated[
        Path, typer.Option(help="Where TIME-SCRIPT, with the run and its report.html, goes.")
    ] = Path("runs"),
    html: Annotated[
        Path | None, typer.Option(help="Write the HTML report here instead of beside the run.")
    ] = None,
    no_html: Annotated[bool, typer.Option("--no-html", help="Write no HTML report.")] = False,
    json: Annotated[Path | None, typer.Option(help="Write the result for machines here.")] = None,
    to: Annotated[
        str | None,
        typer.Option(
            help="Also hand figures and findings to tensorboard, wandb, mlflow or trackio, several with commas "
            "between."
        ),
    ] = None,
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
    """Run a training script to its end, and watch its gradients.

    Runs SCRIPT unchanged, records every step in runs/TIME-SCRIPT/run.sqlite, shows the gradients while it
    trains, and says at the end what went wrong. A step with NaN, or one that would overwrite the weights, is
    refused before it reaches them. After a NaN or an infinity SCRIPT is run once more up to that step, in the
    background and without its output, to find the operation and the line where it was born.

    Examples:
    - evengrad run train.py

    - evengrad run train.py --clip auto --guard skip:3 -- --epochs 3 --lr 0.1

    - evengrad run -m package.train

    Exit status: 0 healthy; 1 findings; 2 could not watch or write; 3 stopped by the guard; 4 the script failed,
    or its own status above 4; 130 interrupted.
    """
    files.expect_writable(html, json)
    chosen = settings_of(clip, None if no_guard else guard, every, folder, "run", to)
    chosen = replace(chosen, held=True)
    again = Script(script, arguments or [], module, Beginnings(), rerun, say)
    with viewing() as view:
        outcome = run_script(
            script,
            arguments or [],
            module=module,
            settings=chosen,
            listener=view,
            failed=lambda failure: say(str(failure)),
        )
    _own_words(outcome)
    if not isinstance(outcome.error, KeyboardInterrupt):
        add_birth(outcome, again)
    found = _judged(outcome)
    _track(outcome, found)
    written = _show_and_write(found, html, json, no_html)
    if outcome.stopped is not None:
        _way_on(outcome.stopped)
    raise typer.Exit(_status(script, outcome, found, written))


def _way_on(stop: Exception) -> None:
    """Where the evidence of a guard's stop is; why it stopped was said when it did."""
    for line in str(translated(stop.args[0])).splitlines()[1:]:
        say(line)


def _own_words(outcome: Outcome) -> None:
    """What Python itself would have printed of the script's end."""
    error = outcome.error
    if error is not None:
        own = own_frames(error.__traceback__)
        sys.excepthook(type(error), error.with_traceback(own), own)
        say_missing(missing_extra(error))
    if outcome.code is not None and not isinstance(outcome.code, int):
        print(outcome.code, file=sys.stderr)


def _judged(outcome: Outcome) -> list[tuple[Run, tuple[Finding, ...]]]:
    """The runs with a step or a finding in them, with their findings."""
    found = []
    for path in outcome.runs:
        try:
            one = load(path)
        except EvengradError as error:
            say(str(error))
            continue
        findings = diagnose_run(one)
        if len(one.steps["step"]) or findings:
            found.append((one, findings))
    return found


def _track(outcome: Outcome, found: list[tuple[Run, tuple[Finding, ...]]]) -> None:
    """What was found goes to the trackers, which have the figures."""
    known = {one.path: findings for one, findings in found}
    for path, tracking in outcome.tracked:
        try:
            tracking.finish(() if path is None else known.get(path, ()))
        except Exception as error:
            say(
                msg(
                    "the findings could not be handed on ({name}: {error})",
                    name=type(error).__name__,
                    error=error,
                )
            )


def _show_and_write(
    found: list[tuple[Run, tuple[Finding, ...]]],
    html: Path | None,
    json: Path | None,
    no_html: bool,
) -> bool:
    """In the script's order; the paths that were asked for are those of the one that is worst. Returns whether
    all was written.
    """
    written = True
    numbers = by_weight([findings for _, findings in found])
    for (one, findings), number in zip(found, numbers, strict=True):
        show(one, findings)
        page = None if no_html else numbered(html, number) or one.path.parent / "report.html"
        written &= write(one, findings, page, numbered(json, number), found)
        print(f"run:    {one.path.parent}")
    if found[1:]:
        from evengrad.report.run_words import trainings
        from evengrad.report.spoken import written as written_lines

        print("\n" + written_lines(trainings(found)), end="")
    return written


def _status(
    script: str, outcome: Outcome, found: list[tuple[Run, tuple[Finding, ...]]], written: bool
) -> int:
    if isinstance(outcome.error, KeyboardInterrupt):
        return ExitStatus.INTERRUPTED
    if outcome.stopped is not None:
        return ExitStatus.STOPPED
    if outcome.error is not None or outcome.code not in (None, 0):
        own = own_status(outcome.code)
        return ExitStatus.SCRIPT_FAILED if own is None else own
    if outcome.failure is not None or not written:
        return ExitStatus.CANNOT
    if not found:
        say(_unseen(script, outcome))
        return ExitStatus.CANNOT
    return ExitStatus.FINDINGS if any(findings for _, findings in found) else ExitStatus.HEALTHY


def _unseen(script: str, outcome: Outcome) -> str:
    if outcome.watched:
        return msg(
            "{script} ran to its end, but there is no run file with a step in it to judge.",
            script=script,
        )
    return msg(
        "{script} ran to its end without a training step that evengrad can see. Expected Keras "
        "`model.fit(...)`, or `loss.backward()` and `optimizer.step()` in PyTorch. For another kind of "
        "loop use `with evengrad.watch(model, optimizer):` in the script.",
        script=script,
    )
