"""False alarms on the zoo: architectures that the whole field trains, each checked, and each trained for real.

  python -m bench.truth.zoo --half development          checks and trainings (kept in bench/truth/.cache)
  python -m bench.truth.zoo --only resnet --again       parts of names; checks anew, trainings from the cache
  python -m bench.truth.zoo --half all --write          the tables of docs/truth.md

A check that is kept is asked again with --again, after a change of the rules; a training never is, unless its
file in the cache is removed. ``--torch PYTHON`` and ``--keras PYTHON`` name the interpreters that have
torchvision with timm and transformers, and Keras.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from bench.truth.architectures import Architecture, every
from bench.truth.pages import write

ROOT = Path(__file__).parents[2]
CACHE = Path(__file__).parent / ".cache" / "zoo"
HALVES = {
    "development": ("development",),
    "held": ("measured once",),
    "all": ("development", "measured once"),
}


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.truth.zoo",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--half", choices=HALVES, default="development")
    add("--only", nargs="+", default=[], metavar="PART", help="parts of names")
    add("--again", action="store_true", help="check again what was checked")
    add("--no-training", action="store_true", help="only check")
    add("--torch", default=sys.executable)
    add("--keras", default=sys.executable)
    add("--write", action="store_true", help="the tables of docs/truth.md")
    return parser.parse_args()


def chosen(half: str, only: list[str]) -> list[tuple[Architecture, str]]:
    """The cases asked for."""
    return [
        (a, optimizer)
        for a in every()
        for optimizer in a.optimizers
        if a.half in HALVES[half]
        and (not only or any(part in f"{a.library} {a.name}" for part in only))
    ]


def kept(architecture: Architecture, optimizer: str) -> dict[str, Any]:
    """What is known of a case."""
    path = _path(architecture, optimizer)
    return dict(json.loads(path.read_text())) if path.exists() else {}


def measure(cases: list[tuple[Architecture, str]], options: argparse.Namespace) -> None:
    """One process a framework; each case is on the disk as soon as it is done."""
    todo = [
        (a, o)
        for a, o in cases
        if options.again or _to_train(a, o, options) or "findings" not in kept(a, o)
    ]
    columns = (TextColumn("{task.description:<44}"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, TimeElapsedColumn(), console=Console(stderr=True)) as progress:
        bar = progress.add_task("", total=len(todo))
        for framework in ("torch", "keras"):
            own = [(a, o) for a, o in todo if a.framework == framework]
            for (a, optimizer), found in _answers(own, getattr(options, framework), options):
                known = kept(a, optimizer)
                _path(a, optimizer).write_text(json.dumps(known | found))
                progress.update(bar, advance=1, description=f"{a.library} {a.name} {optimizer}")


def _answers(
    cases: list[tuple[Architecture, str]], python: str, options: argparse.Namespace
) -> Iterator[tuple[tuple[Architecture, str], dict[str, Any]]]:
    if not cases:
        return
    CACHE.mkdir(parents=True, exist_ok=True)
    defaults = {"KERAS_BACKEND": "tensorflow", "TF_CPP_MIN_LOG_LEVEL": "3", "OMP_NUM_THREADS": "1"}
    with (CACHE / f"errors-{os.getpid()}.txt").open("w") as errors:
        process = subprocess.Popen(
            [python, "-m", "bench.truth.worker"],
            cwd=ROOT, env=defaults | os.environ, text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors,
        )  # fmt: skip
        assert process.stdin is not None
        assert process.stdout is not None
        for a, optimizer in cases:
            asked = {"name": f"{a.library} {a.name}", "optimizer": optimizer}
            known = kept(a, optimizer)
            asked["train"] = _to_train(a, optimizer, options)
            asked["check"] = options.again or "findings" not in known
            process.stdin.write(json.dumps(asked) + "\n")
            process.stdin.flush()
            line = process.stdout.readline()
            if not line:
                sys.exit(f"{python}: the worker ended; see {CACHE}")
            yield (a, optimizer), json.loads(line)
        process.stdin.close()
        process.wait()


def _to_train(architecture: Architecture, optimizer: str, options: argparse.Namespace) -> bool:
    first = optimizer == architecture.optimizers[0]
    return first and not options.no_training and "truth" not in kept(architecture, optimizer)


def _path(architecture: Architecture, optimizer: str) -> Path:
    return CACHE / f"{architecture.library}-{architecture.name}-{optimizer.replace(' ', '-')}.json"


def show(cases: list[tuple[Architecture, str]]) -> None:
    """A line a case."""
    table = Table("case", "half", "truth", "steps", "loss", "s", "findings")
    for a, optimizer in cases:
        found = kept(a, optimizer)
        truth = found.get("truth", {})
        findings = "\n".join(
            f"{f['code']} {f['severity']}: {f['title']}" for f in found.get("findings", [])
        )
        table.add_row(
            f"{a.library} {a.name}, {optimizer}", a.half[:4], truth.get("verdict", "?"),
            str(truth.get("steps", "")),
            f"{truth['first']:.2f} > {truth['last']:.2f} ({truth['constant']:.2f})" if truth else "",
            f"{found.get('check_s', 0):.0f}+{truth.get('train_s', 0):.0f}", found.get("error") or findings,
        )  # fmt: skip
    Console(width=None if sys.stdout.isatty() else 200).print(table)


def main() -> None:
    """Measure, show, write."""
    options = arguments()
    cases = chosen(options.half, options.only)
    measure(cases, options)
    show(cases)
    if options.write:
        write([(a, optimizer, kept(a, optimizer)) for a, optimizer in cases])


if __name__ == "__main__":
    main()
