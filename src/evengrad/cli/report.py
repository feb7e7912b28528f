"""``evengrad report``: a run file as text, HTML or JSON, also while it is being written."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from evengrad.cli.check import Status, say
from evengrad.diagnosis.diagnose import judge_run
from evengrad.errors import EvengradError
from evengrad.recording.reader import load
from evengrad.values.finding import Finding
from evengrad.values.run import Run


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
    try:
        found = load(run)
    except EvengradError as error:
        say(str(error))
        raise typer.Exit(Status.COULD_NOT_CHECK) from None
    if not len(found.steps["step"]):
        say(f"{run} has no step in it yet ({found.status}).")
        raise typer.Exit(Status.COULD_NOT_CHECK)
    findings = judge_run(found)
    show(found, findings)
    write(found, findings, html, json)
    raise typer.Exit(Status.FINDINGS if findings else Status.HEALTHY)


def show(run: Run, findings: Sequence[Finding]) -> None:
    """The run on one screen."""
    from evengrad.report import run_text

    Console(highlight=False).print(run_text.panel(run, findings))


def write(run: Run, findings: Sequence[Finding], page: Path | None, data: Path | None) -> None:
    """The HTML report and the JSON, where a path is given."""
    from evengrad.report import run_html, run_json

    try:
        if data is not None:
            data.parent.mkdir(parents=True, exist_ok=True)
            data.write_text(run_json.dumps(run, findings), encoding="utf-8")
        if page is not None:
            page.parent.mkdir(parents=True, exist_ok=True)
            page.write_text(run_html.render(run, findings), encoding="utf-8")
            print(f"report: {page}")
    except OSError as error:
        say(f"cannot write {error.filename}: {error.strerror}")
        raise typer.Exit(Status.COULD_NOT_CHECK) from None
