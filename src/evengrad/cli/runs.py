"""``evengrad runs``: the runs in a folder."""

from __future__ import annotations

import json as machine
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from evengrad.cli.command import say
from evengrad.errors import EvengradError
from evengrad.recording.listing import RunSummary, runs_in
from evengrad.report.json import plain
from evengrad.report.run_words import duration
from evengrad.values.message import msg, translated
from evengrad.values.run import BAD_EVENTS, EventKind

_SILENT = 300.0  # seconds after which a run that says it is running may be dead
_STYLES = {"stopped": "red", "failed": "red", "interrupted": "yellow", "running": "cyan"}


def runs(
    folder: Annotated[Path, typer.Argument(help="The folder of the runs.")] = Path("runs"),
    json: Annotated[bool, typer.Option("--json", help="For machines: a list as JSON.")] = False,
) -> None:
    """List the runs in a folder, newest first.

    Examples:
    - evengrad runs

    - evengrad runs elsewhere/runs --json

    Exit status: 0, or 2 if there is no such folder.
    """
    if not folder.is_dir():
        raise EvengradError(
            msg(
                "There is no folder {folder!r}. Expected one with runs, as `evengrad run` makes.",
                folder=str(folder),
            )
        )
    found, broken = runs_in(folder)
    if json:
        rows = [plain(asdict(run) | {"path": str(run.path)}) for run in found]
        print(machine.dumps(rows, indent=2, allow_nan=False, ensure_ascii=False))
    elif found:
        Console(highlight=False).print(_table(found))
    else:
        say(msg("there is no run in {folder}; `evengrad run train.py` makes one", folder=folder))
    for path in broken:
        say(msg("{path} holds a run file that cannot be read", path=path))


_ENDS = {
    "running": msg("running"),
    "finished": msg("finished"),
    "stopped": msg("stopped"),
    "failed": msg("failed"),
    "interrupted": msg("interrupted"),
}


def _table(found: list[RunSummary]) -> Table:
    """A row a run; its name begins with its time."""
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    table.add_column(translated(msg("run")), no_wrap=True, overflow="ellipsis")
    table.add_column(translated(msg("steps")), justify="right", no_wrap=True)
    table.add_column(translated(msg("loss")), justify="right", no_wrap=True)
    table.add_column(translated(msg("ended")))
    table.add_column(translated(msg("what happened")))
    for run in found:
        status: str = _ENDS.get(run.status, run.status)
        if status == "running" and run.silent > _SILENT:
            status = msg("running? silent for {duration}", duration=duration(run.silent))
        table.add_row(
            run.path.name or str(run.path),
            f"{run.steps:,}",
            "-" if run.loss is None else f"{run.loss:.4g}",
            Text(translated(status), style=_STYLES.get(run.status, "")),
            _events(run),
        )
    return table


def _events(run: RunSummary) -> Text:
    """Bad ones first, in red."""
    text = Text()
    for kind, count in sorted(run.events.items(), key=lambda item: item[0] not in BAD_EVENTS):
        text.append(", " if text else "")
        times = f" x{count}" if count > 1 else ""
        text.append(translated(EventKind(kind).words) + times, "red" if kind in BAD_EVENTS else "")
    return text
