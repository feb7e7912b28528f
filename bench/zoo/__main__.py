"""Forecast against probe: how far off is a forecast, layer by layer and seed by seed?

What was measured is kept in bench/zoo/.cache: a second run costs only the forecasts.

  python -m bench.zoo                                  the zoo, both halves
  python -m bench.zoo --half development --operations  where the gains are wrong, by operation
  python -m bench.zoo --only torch-mlp-relu-he --worst one architecture, an operation a line
  python -m bench.zoo --half all --write               with the real models, into docs/forecast.md
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from bench.zoo import table
from bench.zoo.judge import Verdict, figures
from bench.zoo.worker import FRAMEWORKS, HALVES

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "forecast.md"
BEGIN, END = "<!-- bench/zoo writes from here -->", "<!-- to here -->"


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.zoo",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--half", choices=HALVES, default="both")
    add("--framework", choices=FRAMEWORKS, nargs="+", default=list(FRAMEWORKS))
    add("--only", nargs="+", default=[], metavar="PART", help="parts of names, of any half")
    add("--seeds", type=int, default=10)
    add("--fresh", action="store_true", help="measure again what is in the cache")
    add(
        "--abstract",
        action="store_true",
        help="forecast from the initialisers, without any weights",
    )
    add("--worst", action="store_true", help="the worst architecture, an operation a line")
    add("--operations", action="store_true", help="errors of gains by type of operation")
    add("--json", action="store_true", help="figures, an architecture a line")
    add("--write", action="store_true", help="the tables of docs/forecast.md")
    return parser.parse_args()


def verdicts(chosen: argparse.Namespace) -> list[Verdict]:
    """One process a framework, one after the other, with a bar."""
    found: list[Verdict] = []
    columns = (TextColumn("{task.description:<44}"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, TimeElapsedColumn(), console=Console(stderr=True)) as progress:
        for framework in chosen.framework:
            bar = progress.add_task(framework, total=None)
            for message in _messages(framework, chosen):
                if "verdict" in message:
                    found.append(Verdict.from_json(message["verdict"]))
                else:
                    progress.update(bar, advance=1, total=message["of"], description=message["at"])
            progress.update(bar, description=framework)
    return found


def _messages(framework: str, chosen: argparse.Namespace):
    command = [sys.executable, "-m", "bench.zoo.worker", framework, "--half", chosen.half]
    command += ["--seeds", str(chosen.seeds), *(["--fresh"] if chosen.fresh else [])]
    command += ["--abstract"] if chosen.abstract else []
    command += ["--only", *chosen.only] if chosen.only else []
    defaults = {"KERAS_BACKEND": "tensorflow", "TF_CPP_MIN_LOG_LEVEL": "3", "OMP_NUM_THREADS": "1"}
    with tempfile.TemporaryFile("w+") as errors:
        process = subprocess.Popen(
            command, cwd=ROOT, env=defaults | os.environ, stdout=subprocess.PIPE, stderr=errors
        )
        assert process.stdout is not None
        failed = False
        for line in process.stdout:
            message = json.loads(line)
            failed |= bool(message.get("verdict", {}).get("error"))
            yield message
        if process.wait() != 0:
            errors.seek(0)
            sys.exit(f"{framework}: the worker failed\n{errors.read()[-3000:]}")
        if failed and chosen.worst:
            errors.seek(0)
            sys.stderr.write(errors.read()[-3000:])


def show(found: list[Verdict], chosen: argparse.Namespace) -> None:
    """What was asked for."""
    console = Console(width=None if sys.stdout.isatty() else 180)
    if chosen.json:
        for v in found:
            short = asdict(table.without_rows(v)) | asdict(figures([v]))
            print(json.dumps(short))
        return
    forecast = table.by_error([v for v in found if v.rows])
    if chosen.worst and forecast:
        console.print(table.detail(forecast[-1]))
    if chosen.operations:
        console.print(table.by_operation(found))
    console.print(table.overview(found))
    for v in found:
        for note in (v.error, *v.notes[:3]):
            if note:
                console.print(f"{v.architecture}: {note}", markup=False)


def write(found: list[Verdict], seeds: int) -> None:
    """Between the two marks of docs/forecast.md; the rest of the page is written by hand."""
    page = PAGE.read_text()
    before, rest = page.split(BEGIN)
    after = rest.split(END)[1]
    PAGE.write_text(f"{before}{BEGIN}\n\n{table.markdown(found, seeds)}\n\n{END}{after}")


def main() -> None:
    """Measure, forecast, compare, show."""
    chosen = arguments()
    found = verdicts(chosen)
    if not found:
        sys.exit("no architecture of that name")
    show(found, chosen)
    if chosen.write:
        write(found, chosen.seeds)


if __name__ == "__main__":
    main()
