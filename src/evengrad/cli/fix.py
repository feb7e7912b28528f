"""``evengrad fix``: finds the change that makes a training healthy, proves it, and writes it as a patch."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.status import Status as Spinner

from evengrad.cli import cluster, files
from evengrad.cli.command import ExitStatus, ScriptCommand, say
from evengrad.errors import EvengradError
from evengrad.fixing.case import Candidate
from evengrad.fixing.fix import fix_script
from evengrad.fixing.outcome import Attempt, Fixing, FixPlan
from evengrad.fixing.remedies import all_remedies
from evengrad.fixing.repairs import all_repairs
from evengrad.fixing.trials import home
from evengrad.report import fix_html, fix_json
from evengrad.report.fix_text import attempt_line, render
from evengrad.values.finding import Finding
from evengrad.values.message import known_text, msg, translated

OPTIONS = {"cls": ScriptCommand}


def fix(
    script: Annotated[
        str | None, typer.Argument(help="The training script, or a module with -m.")
    ] = None,
    arguments: Annotated[
        list[str] | None, typer.Argument(help="The script's own arguments, after --.")
    ] = None,
    apply: Annotated[bool, typer.Option("--apply", help="Write the patch into SCRIPT.")] = False,
    steps: Annotated[int, typer.Option(min=10, help="Updates of a trial.")] = 200,
    seeds: Annotated[
        int, typer.Option(min=1, help="Seeds with which the patched script must work.")
    ] = 3,
    budget: Annotated[int, typer.Option(min=1, help="Trials of remedies, at most.")] = 8,
    jobs: Annotated[int, typer.Option(min=1, help="Trials side by side.")] = 1,
    only: Annotated[
        list[str] | None, typer.Option(help="Try this remedy only; may be given several times.")
    ] = None,
    pretrained: Annotated[
        Path | None,
        typer.Option(help="Weights to try: a safetensors, Keras or PyTorch state file."),
    ] = None,
    patience: Annotated[
        float,
        typer.Option(
            min=1, help="Seconds of training after which a run to SCRIPT's end is cut off."
        ),
    ] = 60.0,
    dask: Annotated[
        str | None,
        typer.Option(help="Run the trials on a Dask cluster: its scheduler's address."),
    ] = None,
    listing: Annotated[bool, typer.Option("--list", help="Say what remedies there are.")] = False,
    folder: Annotated[
        Path, typer.Option(help="Where fix-SCRIPT, with the trials and report.html, goes.")
    ] = Path("runs"),
    html: Annotated[
        Path | None, typer.Option(help="Write the HTML report here instead of beside the trials.")
    ] = None,
    no_html: Annotated[bool, typer.Option("--no-html", help="Write no HTML report.")] = False,
    json: Annotated[Path | None, typer.Option(help="Write the result for machines here.")] = None,
    module: Annotated[
        bool, typer.Option("-m", help="SCRIPT is a module's dotted name, as in python -m.")
    ] = False,
) -> None:
    """Find the change that makes a training healthy, and prove it.

    Runs SCRIPT as it is for some steps, and looks for what is wrong. Mistakes in the code are repaired first;
    then remedies are tried, each in a process of its own with the same data and seed, until one trains as well
    as the standard recipe does beside it. Shows it as a patch, and runs the patched script with several seeds,
    once to its own end. Changes nothing without --apply.

    Examples:
    - evengrad fix train.py

    - evengrad fix train.py --apply -- --epochs 3

    - evengrad fix train.py --only clipping --steps 100

    - evengrad fix train.py --dask tcp://head:8786 --jobs 16

    - evengrad fix --list

    Exit status: 0 fixed, or healthy as it is; 1 not fixed; 2 the script could not be run, a file not be
    written, or evengrad itself failed; 130 interrupted (the next call takes up from there).
    """
    if listing:
        _list()
        raise typer.Exit(ExitStatus.HEALTHY)
    if script is None:
        raise EvengradError(
            msg(
                "Expected a script, such as: evengrad fix train.py. `evengrad fix --list` has the remedies."
            )
        )
    files.expect_writable(html, json)
    plan = FixPlan(
        script,
        arguments=tuple(arguments or ()),
        module=module,
        steps=steps,
        seeds=seeds,
        budget=budget,
        jobs=jobs,
        only=tuple(only or ()),
        pretrained=None if pretrained is None else str(pretrained.resolve()),
        patience=patience,
        folder=home(folder, script),
    )
    try:
        found = _fix(plan, dask)
    except KeyboardInterrupt:
        say(msg("Interrupted; the same call takes up from the trials that are done."))
        raise typer.Exit(ExitStatus.INTERRUPTED) from None
    if found.status == "internal_error":
        say(found.message)
    else:
        print(render(found), end="")
    page = None if no_html else html or found.plan.folder / "report.html"
    written = files.write_results(
        page, lambda: fix_html.render(found), json, lambda: fix_json.dumps(found)
    )
    if apply:
        _apply(found)
    raise typer.Exit(_STATUS[found.status] if written else ExitStatus.CANNOT)


_STATUS = {
    "healthy": ExitStatus.HEALTHY,
    "fixed": ExitStatus.HEALTHY,
    "not_fixed": ExitStatus.FINDINGS,
    "cannot_run": ExitStatus.CANNOT,
    "internal_error": ExitStatus.CANNOT,
}


def _titled(title: str) -> str:
    """A file's title in the language in use, with its full stop."""
    return f"{known_text(title.removesuffix('.'))}{translated(msg('.'))}"


def _list() -> None:
    for remedy in all_remedies():
        print(f"{remedy.name:<16}{_titled(remedy.title)}")
    print()
    print(translated(msg("Mistakes in the code that are repaired first, where they are found:")))
    for repair in all_repairs():
        print(f"{repair.name:<18}{_titled(repair.title)}")


def _fix(plan: FixPlan, dask: str | None) -> Fixing:
    with _Progress() as progress:
        if dask is None:
            return fix_script(plan, progress)
        with cluster.client(dask) as client:
            return fix_script(plan, progress, client.get_executor())


class _Progress:
    """What is going on, on stderr: a line for each trial that is over, and a spinner for the one that runs."""

    def __init__(self) -> None:
        self._console = Console(stderr=True, highlight=False)
        self._spinner: Spinner | None = None

    def __enter__(self) -> _Progress:
        return self

    def __exit__(self, *_: object) -> None:
        self._rest()

    def trying(self, candidate: Candidate | None, seed: int, patched: bool) -> None:
        what = msg("the script as it is") if candidate is None else candidate.reason
        text = msg("{what}, seed {seed}", what=what, seed=seed)
        if patched:
            text = msg("patched: {text}", text=text)
        if self._console.is_terminal:
            self._rest()
            self._spinner = self._console.status(str(translated(text)))
            self._spinner.start()

    def tried(self, attempt: Attempt) -> None:
        self._rest()
        self._console.print(translated(attempt_line(attempt)), soft_wrap=True, markup=False)

    def found(self, findings: Sequence[Finding]) -> None:
        self._rest()
        for finding in findings:
            title = translated(finding.title)
            self._console.print(f"    {finding.code} {title}", soft_wrap=True, markup=False)

    def _rest(self) -> None:
        if self._spinner is not None:
            self._spinner.stop()
            self._spinner = None


def _apply(found: Fixing) -> None:
    """The patched file instead of the user's, in one move."""
    patch, target = found.patch, Path(found.plan.target)
    if patch is None:
        say(msg("There is nothing to apply."))
        return
    if patch.manual or found.plan.module:
        say(msg("Not applied: the change can only be made by hand, see above."))
        return
    with target.open(newline="", encoding="utf-8") as file:
        if file.read() != patch.before:
            say(
                msg(
                    "Not applied: {target} has changed since. Run evengrad fix again.",
                    target=target,
                )
            )
            return
    handle, name = tempfile.mkstemp(dir=target.resolve().parent, prefix=f".{target.name}-")
    with os.fdopen(handle, "w", newline="", encoding="utf-8") as new:
        new.write(patch.after)
    shutil.copymode(target, name)
    Path(name).replace(target.resolve())
    say(msg("{target} is patched.", target=target))
