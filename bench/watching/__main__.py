"""What watching a training adds to a step, against what the frameworks' own clips and other tools add.

python -m bench.watching                      all networks, Keras on three backends; about ten minutes
python -m bench.watching --only resnet20      one of them
python -m bench.watching --quick              few rounds, for a look
python -m bench.watching --write              into docs/watching-cost.md
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from bench.watching import tables
from bench.watching.figures import Case
from bench.watching.samples import CYCLE

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "watching-cost.md"
BEGIN, END = "<!-- bench/watching writes from here -->", "<!-- to here -->"
ROUNDS = {
    "article-cnn": 200,
    "resnet20": 70,
    "transformer": 30,
    "keras-tensorflow": 100,
    "keras-jax": 100,
    "keras-torch": 100,
}
QUICK = 2 * CYCLE
ALLOCATOR = {
    "MALLOC_MMAP_THRESHOLD_": "1073741824",
    "MALLOC_TRIM_THRESHOLD_": "4294967296",
    "MALLOC_TOP_PAD_": "67108864",
}
"""glibc keeps what it has: otherwise each large tensor is mapped anew, or not, as chance has it, and two copies
of one training differ by more than a clip costs."""


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.watching",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--only", choices=ROUNDS, nargs="+", default=list(ROUNDS), metavar="NET")
    add("--rounds", type=int, help=f"steps of each variant, rounded up to a multiple of {CYCLE}")
    add("--quick", action="store_true", help=f"{QUICK} rounds")
    add("--threads", type=int, default=os.cpu_count() or 1)
    add("--json", type=Path, metavar="FILE", help="all samples, to look further into")
    add("--write", action="store_true", help="the tables of docs/watching-cost.md")
    return parser.parse_args()


def measured(chosen: argparse.Namespace) -> list[Case]:
    """One process a network or backend, one after the other, with a bar each."""
    cases = []
    columns = (TextColumn("{task.description:<18}"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, TimeElapsedColumn(), console=Console(stderr=True)) as progress:
        for name in chosen.only:
            bar = progress.add_task(name, total=None)
            case = Case(name)
            for message in _messages(name, _rounds(name, chosen), chosen.threads):
                if "done" in message:
                    progress.update(bar, completed=message["done"], total=message["of"])
                else:
                    case.take(message)
            progress.stop_task(bar)
            cases.append(case)
    return cases


def _rounds(name: str, chosen: argparse.Namespace) -> int:
    """Whole cycles, so that observed steps have their true share."""
    rounds = chosen.rounds or (QUICK if chosen.quick else ROUNDS[name])
    return -(-rounds // CYCLE) * CYCLE


def _messages(name: str, rounds: int, threads: int) -> Iterator[dict[str, Any]]:
    worker = "keras_worker" if name.startswith("keras-") else "torch_worker"
    command = [sys.executable, "-m", f"bench.watching.{worker}"]
    command += [] if name.startswith("keras-") else [name]
    command += ["--rounds", str(rounds), "--threads", str(threads)]
    ours = ALLOCATOR | {"OMP_NUM_THREADS": str(threads), "TF_CPP_MIN_LOG_LEVEL": "3"}
    if name.startswith("keras-"):
        ours["KERAS_BACKEND"] = name.removeprefix("keras-")
    with tempfile.TemporaryFile("w+") as errors:
        process = subprocess.Popen(
            command, cwd=ROOT, env=os.environ | ours, stdout=subprocess.PIPE, stderr=errors
        )
        assert process.stdout is not None
        for line in process.stdout:
            yield json.loads(line)
        if process.wait() != 0:
            errors.seek(0)
            sys.exit(f"{name}: the worker failed\n{errors.read()[-3000:]}")


def machine(threads: int) -> str:
    """What it was measured on."""
    packages = ", ".join(f"{name} {version(name)}" for name in ("torch", "keras"))
    return f"{platform.machine()}, {os.cpu_count()} cores, {threads} threads; {packages}"


def write(cases: list[Case], threads: int) -> None:
    """Between the two marks of docs/watching-cost.md; the rest of the page is written by hand."""
    page = PAGE.read_text()
    before, rest = page.split(BEGIN)
    after = rest.split(END)[1]
    text = "\n\n".join([f"Measured on {machine(threads)}.", *map(tables.markdown, cases)])
    PAGE.write_text(f"{before}{BEGIN}\n\n{text}\n\n{END}{after}")


def save(cases: list[Case], file: Path) -> None:
    """Every sample."""
    rows = [
        {"net": c.name, **vars(r), "samples": r.samples.json(), "short": r.short.json()}
        for c in cases
        for r in c.rows
    ]
    file.write_text(json.dumps(rows))


def main() -> None:
    """Measure, show, keep."""
    chosen = arguments()
    cases = measured(chosen)
    console = Console(width=None if sys.stdout.isatty() else 180)
    for case in cases:
        console.print(tables.table(case))
        for note in tables.notes(case):
            console.print(note, markup=False)
    console.print(machine(chosen.threads), style="dim")
    if chosen.json:
        save(cases, chosen.json)
    if chosen.write:
        write(cases, chosen.threads)


if __name__ == "__main__":
    main()
