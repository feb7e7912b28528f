"""Public reports as scripts: does ``evengrad fix --apply`` cure them, and what does it call those it does not?

  python -m bench.truth.fixes --minutes 60             both halves (see bench.truth.reports), taken up again
  python -m bench.truth.fixes --folder MINE keras_*    other scripts of the same form
  python -m bench.truth.fixes --minutes 0 --write      the table of what is there, into docs/truth.md

A copy of the script is fixed, and what stands in it then is run alone, without evengrad, as are the script as
it was and its cured twin. What they print says how well they do (``Figure``): the last accuracy, R2, IoU and
the like, else how far the loss has come down from where the twin's began. *Cured* is 90% of what the twin
reaches. A script that ends with an exception, or whose figure is not finite, is ruined. A report whose first
lines have ``# figure:``, a pattern, is judged by what that finds (``(?#score)`` in it: more is better). With
``# patch: none`` no patch of the source could cure it: it counts only where it is called healthy or fixed.
"""

from __future__ import annotations

import argparse
import fnmatch
import hashlib
import json
import math
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from bench.truth.page import section
from bench.truth.reports import HALVES, header

CACHE = Path("runs/truth-fixes")
ENOUGH = 0.9
"""Of what the twin reaches."""
_NUMBER = r"[-+]?(?:\d+\.?\d*(?:e[-+]?\d+)?|nan|inf)"
_NAMED = re.compile(
    rf"([a-z][a-z_0-9 ]*)[\s'\":=\[({{,]*(?:np\.float(?:32|64)\()?({_NUMBER})(?![\w.])", re.I
)
_BARE = re.compile(r"(?<![\w.])(-?\d+\.\d+(?:e[-+]?\d+)?|nan|inf)(?![\w.])", re.I)
_SCORES = re.compile(r"acc|r2|iou|dice|auc|explained|reward|student|score", re.I)
_LOSSES = re.compile(r"loss|mse|mae|share|distance|error", re.I)


@dataclass(frozen=True)
class Figure:
    """How well a script does, by what it prints.

    Attributes:
        value: the last figure; nan where there is none.
        first: the first of that name.
        rising: whether more is better.
    """

    value: float
    first: float
    rising: bool

    def reaches(self, twin: Figure, sick: Figure) -> float:
        """The share of what the twin reaches: of a score itself; of a loss, of the way down from the twin's
        first, or, where it printed only one, from the sick script's.
        """
        if not math.isfinite(self.value) or self.rising != twin.rising:
            return -math.inf
        if twin.rising:
            return self.value / twin.value if twin.value > 0 else float(self.value >= twin.value)
        start = twin.first if twin.first > twin.value else sick.value
        if not start > twin.value:  # nothing is known of a bad one
            return 1.0 if self.value <= 1.25 * abs(twin.value) else 0.0
        return (start - self.value) / (start - twin.value)


def figure(output: str, pattern: str = "") -> Figure:
    """By a report's own pattern, else by the names that the figures have in what it prints."""
    if pattern:
        found = [float(match.group(1)) for match in re.finditer(pattern, output)]
        return _of(found, rising=bool(_SCORES.search(pattern)))
    named = [(name, float(value)) for name, value in _NAMED.findall(output)]
    for names, rising in ((_SCORES, True), (_LOSSES, False)):
        own = [(name, value) for name, value in named if names.search(name)]
        if own:
            last = own[-1][0].split()[-1]
            return _of([v for name, v in own if name.split()[-1] == last], rising=rising)
    bare = [float(numbers[0]) for line in output.splitlines() if (numbers := _BARE.findall(line))]
    return _of(bare, rising=False)


def _of(values: Sequence[float], *, rising: bool) -> Figure:
    return Figure(values[-1], values[0], rising) if values else Figure(math.nan, math.nan, rising)


@dataclass
class Row:
    """One report.

    Attributes:
        name: of the script.
        status: what fix says.
        remedy: which it chose.
        sick: the share of the twin that the script reaches as it was.
        reached: the same of what stands in the copy then.
        curable: whether a patch could.
        seconds: that fix took.
        key: of the scripts' texts.
    """

    name: str
    status: str
    remedy: str
    sick: float
    reached: float
    curable: bool
    seconds: float
    key: str

    @property
    def cured(self) -> bool:
        """Whether it trains well now."""
        return self.reached >= ENOUGH

    @property
    def wrong(self) -> bool:
        """Whether a ruined one is called healthy or fixed."""
        return self.status in ("healthy", "fixed") and not self.cured

    def cells(self) -> list[str]:
        """A line of the table."""
        said = self.status.replace("_", " ") + (f": {self.remedy}" if self.remedy else "")
        verdict = "**wrong**" if self.wrong else "yes" if self.cured else "no"
        verdict += "" if self.curable else " (no patch could)"
        return [
            self.name,
            said,
            _share(self.sick),
            _share(self.reached),
            verdict,
            f"{self.seconds:.0f} s",
        ]


def _share(value: float) -> str:
    return f"{value:.2f}" if math.isfinite(value) and abs(value) < 100 else "ruined"


def measure(path: Path, seconds: float) -> Row:
    """Fix a copy, run what stands in it then, and the script and its twin as they are."""
    twin = path.with_name(f"{path.stem}_cured.py")
    pattern = header(path, "figure")
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        for beside in path.parent.iterdir():
            if beside.suffix in {".npz", ".csv"} or beside in (path, twin):
                shutil.copy(beside, folder)
        known = {p.name: figure(_alone(folder / p.name, seconds), pattern) for p in (path, twin)}
        began = time.monotonic()
        said = _fixed(folder / path.name, seconds)
        took = time.monotonic() - began
        changed = (folder / path.name).read_text() != path.read_text()
        after = (
            figure(_alone(folder / path.name, seconds), pattern) if changed else known[path.name]
        )
    sick = known[path.name]
    return Row(
        path.stem,
        said["status"],
        said["remedy"],
        sick.reaches(known[twin.name], sick),
        after.reaches(known[twin.name], sick),
        header(path, "patch") != "none",
        took,
        _key(path, twin),
    )


def _key(*paths: Path) -> str:
    return hashlib.sha256(b"\0".join(path.read_bytes() for path in paths)).hexdigest()[:16]


def _alone(script: Path, seconds: float) -> str:
    """What a script prints; nothing where it fails."""
    try:
        done = _run([sys.executable, script.name], script.parent, seconds)
    except subprocess.TimeoutExpired:
        return ""
    return done.stdout if done.returncode == 0 else ""


def _fixed(script: Path, seconds: float) -> dict[str, Any]:
    """``evengrad fix --apply``: what it says."""
    out = script.parent / "out.json"
    command = [
        sys.executable,
        "-m",
        "evengrad",
        "fix",
        "--apply",
        "--no-html",
        "--json",
        str(out),
        script.name,
    ]
    try:
        done = _run(command, script.parent, seconds)
    except subprocess.TimeoutExpired:
        return {"status": f"over {seconds:.0f} s", "remedy": ""}
    CACHE.mkdir(parents=True, exist_ok=True)
    (CACHE / f"{script.stem}.txt").write_text(f"{done.stderr}\n{done.stdout}\n{script.read_text()}")
    found = json.loads(out.read_text()) if out.exists() else {}
    status = found.get("status", f"exit {done.returncode}")
    return {"status": status, "remedy": found.get("remedy") or ""}


def _run(command: list[str], folder: Path, seconds: float) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command,
        cwd=folder,
        env=os.environ | {"TF_CPP_MIN_LOG_LEVEL": "3"},
        capture_output=True,
        text=True,
        timeout=seconds,
        check=False,
    )


def _known(path: Path) -> Row | None:
    """What was measured of these texts before."""
    try:
        row = Row(**json.loads((CACHE / f"{path.stem}.json").read_text()))
    except (OSError, ValueError, TypeError):
        return None
    return row if row.key == _key(path, path.with_name(f"{path.stem}_cured.py")) else None


def main() -> int:
    """Measure what is not known yet, print, and 1 where a goal is missed."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.truth.fixes",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("patterns", nargs="*", default=["*"], help="of names; all by default")
    parser.add_argument("--folder", type=Path, action="append", help="instead of both halves")
    parser.add_argument(
        "--minutes", type=float, default=60.0, help="nothing is begun after so long"
    )
    parser.add_argument(
        "--seconds", type=float, default=900.0, help="the longest that a command may take"
    )
    parser.add_argument("--again", action="store_true", help="also what is known already")
    parser.add_argument("--write", action="store_true", help="the table into docs/truth.md")
    parser.add_argument("--section", default="fixes", help="of that page, with --write")
    given = parser.parse_args()
    began = time.monotonic()
    rows = []
    for path in _scripts(given.folder or HALVES.values(), given.patterns):
        row = None if given.again else _known(path)
        if row is None and time.monotonic() - began < 60 * given.minutes:
            row = measure(path, given.seconds)
            CACHE.mkdir(parents=True, exist_ok=True)
            (CACHE / f"{path.stem}.json").write_text(json.dumps(asdict(row)))
        if row is not None:
            rows.append(row)
            print(" | ".join(row.cells()), flush=True)
    print(summary(rows))
    if given.write:
        section(given.section, table(rows))
    counted = [row for row in rows if row.curable]
    missed = any(row.wrong for row in rows)
    return int(missed or sum(row.cured for row in counted) < 0.8 * len(counted))


def _scripts(folders: Sequence[Path], patterns: Sequence[str]) -> list[Path]:
    found = [p for folder in folders for p in sorted(folder.resolve().glob("*.py"))]
    paired = [p for p in found if p.with_name(f"{p.stem}_cured.py").exists()]
    return [p for p in paired if any(fnmatch.fnmatch(p.stem, one) for one in patterns)]


def summary(rows: Sequence[Row]) -> str:
    """The figures that count."""
    counted = [row for row in rows if row.curable]
    return (
        f"cured {sum(row.cured for row in counted)}/{len(counted)} of those that a patch can cure (goal 80%), "
        f"ruined ones called healthy or fixed {sum(row.wrong for row in rows)}/{len(rows)} (goal 0)"
    )


def table(rows: Sequence[Row]) -> str:
    """For docs/truth.md."""
    head = "| report | fix says | as it was | as it is left | cured | time |\n|---|---|---:|---:|---|---:|\n"
    lines = "".join(f"| {' | '.join(row.cells())} |\n" for row in rows)
    return f"{summary(rows)}.\n\n{head}{lines}"


if __name__ == "__main__":
    sys.exit(main())
