"""``evengrad report``: a run file as text, HTML or JSON, also while it is being written."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from evengrad.cli import files
from evengrad.cli.command import ExitStatus
from evengrad.diagnosis.diagnose import diagnose_run
from evengrad.errors import EvengradError
from evengrad.recording.reader import load
from evengrad.values.finding import Finding
from evengrad.values.message import msg
from evengrad.values.run import Run

OPTIONS = {"no_args_is_help": True}


def report(
    run: Annotated[Path, typer.Argument(help="A run's folder, or the run.sqlite in it.")],
    html: Annotated[Path | None, typer.Option(help="Write the HTML report here.")] = None,
    json: Annotated[Path | None, typer.Option(help="Write the result for machines here.")] = None,
) -> None:
    """Show what happened in a run, also while it goes on.

    Examples:
    - evengrad report runs/20260101-120000-train

    - evengrad report runs/20260101-120000-train --html report.html

    Exit status: 0 healthy, 1 findings, 2 could not read or write.
    """
    files.expect_writable(html, json)
    found = load(run)
    if not len(found.steps["step"]):
        raise EvengradError(
            msg("{run} has no step in it yet ({status}).", run=run, status=found.status)
        )
    findings = diagnose_run(found)
    show(found, findings)
    if not write(found, findings, html, json):
        raise typer.Exit(ExitStatus.CANNOT)
    raise typer.Exit(ExitStatus.FINDINGS if findings else ExitStatus.HEALTHY)


def show(run: Run, findings: Sequence[Finding]) -> None:
    """The run on one screen."""
    from evengrad.report import run_text

    Console(highlight=False).print(run_text.panel(run, findings))


def write(
    run: Run,
    findings: Sequence[Finding],
    page: Path | None,
    data: Path | None,
    script: Sequence[tuple[Run, Sequence[Finding]]] = (),
) -> bool:
    """The HTML report and the JSON, where a path is given. script: all of its trainings, where they are known.
    Returns whether all of it was written.
    """
    from evengrad.report import run_html, run_json

    return files.write_results(
        page,
        lambda: run_html.render(run, findings),
        data,
        lambda: run_json.dumps(run, findings, script),
    )
