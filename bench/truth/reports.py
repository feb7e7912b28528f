"""Public reports as scripts: does check or run name the cure first, and leave the cured twin alone?

  python -m bench.truth.reports                        development half (bench/truth/reports)
  python -m bench.truth.reports --half held --write    measured once, into docs/truth.md
  python -m bench.truth.reports --folder MINE keras_*  other scripts of the same form

A report is NAME.py, sick, and NAME_cured.py. Their first lines say what is true: ``# verdict:`` (sick, healthy
or unclear: finite, but not well), ``# causes:`` that are right, ``# source:``, and ``# names:``, a pattern that
the title, the evidence or the advice of the first finding must match for its reader to find the cure.
"""

from __future__ import annotations

import argparse
import fnmatch
import json
import os
import re
import subprocess
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench.truth.page import section

HERE = Path(__file__).parent
HALVES = {"development": HERE / "reports", "held": HERE / "measured_once"}
VERBS = ("check", "run")
REFUSED = 2


@dataclass
class Row:
    """One report. seen: by verb, the exit status and the first finding; twin: the same of the cured one."""

    name: str
    seen: dict[str, tuple[int, Any]] = field(default_factory=dict)
    twin: dict[str, tuple[int, Any]] = field(default_factory=dict)
    cause: bool = False
    named: bool = False
    judged: bool = True

    @property
    def refused(self) -> bool:
        """Whether a command could not look at it."""
        return any(status == REFUSED for status, _ in [*self.seen.values(), *self.twin.values()])

    @property
    def alarmed(self) -> bool:
        """Whether the healthy twin was told of anything."""
        return self.judged and any(status != 0 for status, _ in self.twin.values())

    def cells(self) -> list[str]:
        """A line of the table."""
        said = [_code(self.seen.get(verb)) for verb in VERBS]
        twin = [_code(self.twin.get(verb)) for verb in VERBS]
        marks = ["yes" if self.cause else "**no**", "yes" if self.named else "**no**"]
        return [self.name, *said, *marks, " / ".join(twin) + ("" if self.judged else " (unclear)")]


def _code(seen: tuple[int, Any] | None) -> str:
    if seen is None:
        return "-"
    status, first = seen
    return f"{status}" if first is None else f"{status} {first['code']}"


def header(path: Path, key: str) -> str:
    """What a report's first lines say under that key."""
    lines = path.read_text(encoding="utf-8").splitlines()
    return next(
        (line.split(":", 1)[1].strip() for line in lines if line.startswith(f"# {key}:")), ""
    )


def call(verb: str, script: Path, seconds: float) -> tuple[int, Any]:
    """A command on a script, in its folder; the status, and the first finding."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "out.json"
        command = [sys.executable, "-m", "evengrad", verb, "--no-html", "--folder", folder]
        try:
            done = subprocess.run(
                [*command, "--json", str(out), script.name],
                cwd=script.parent,
                env=os.environ | {"TF_CPP_MIN_LOG_LEVEL": "3"},
                capture_output=True,
                timeout=seconds,
                check=False,
            )
        except subprocess.TimeoutExpired:
            return 124, None
        findings = json.loads(out.read_text()).get("findings", []) if out.exists() else []
    return done.returncode, findings[0] if findings else None


def words(finding: Any) -> str:
    """What a reader sees of it first."""
    return " ".join([finding["title"], *finding.get("evidence", []), *finding.get("advice", [])])


def measure(path: Path, seconds: float) -> Row:
    """Both commands on a report and on its twin."""
    row, cured = Row(path.stem), path.with_name(f"{path.stem}_cured.py")
    causes, names = header(path, "causes").split(), re.compile(header(path, "names"), re.I)
    for verb in VERBS:
        row.seen[verb] = call(verb, path, seconds)
        first = row.seen[verb][1]
        if first is not None and first["cause"] in causes:
            row.cause = True
            row.named |= bool(names.search(words(first)))
        row.twin[verb] = call(verb, cured, seconds)
    row.judged = header(cured, "verdict") == "healthy"
    return row


def main() -> int:
    """Measure, print, and 1 where a goal is missed."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.truth.reports",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("patterns", nargs="*", default=["*"], help="of names; all by default")
    parser.add_argument("--half", choices=HALVES, default="development")
    parser.add_argument("--folder", type=Path, help="instead of a half")
    parser.add_argument(
        "--seconds", type=float, default=240.0, help="the longest that a command may take"
    )
    parser.add_argument("--write", action="store_true", help="the half's table into docs/truth.md")
    given = parser.parse_args()
    folder = (given.folder or HALVES[given.half]).resolve()
    paths = sorted(p for p in folder.glob("*.py") if p.with_name(f"{p.stem}_cured.py").exists())
    paths = [p for p in paths if any(fnmatch.fnmatch(p.stem, one) for one in given.patterns)]
    rows = []
    for number, path in enumerate(paths, 1):
        rows.append(measure(path, given.seconds))
        print(f"{number}/{len(paths)} " + " | ".join(rows[-1].cells()), flush=True)
    print(summary(rows))
    if given.write:
        section(f"reports, {given.half}", table(rows))
    missed = any(row.refused or row.alarmed for row in rows)
    return int(missed or sum(row.named for row in rows) < 0.9 * len(rows))


def summary(rows: list[Row]) -> str:
    """The figures that count."""
    count, judged = len(rows), [row for row in rows if row.judged]
    return (
        f"cause first {sum(row.cause for row in rows)}/{count}, cure named "
        f"{sum(row.named for row in rows)}/{count} (goal 90%), refused {sum(row.refused for row in rows)}, "
        f"alarms on cured twins {sum(row.alarmed for row in judged)}/{len(judged)}"
    )


def table(rows: list[Row]) -> str:
    """For docs/truth.md: exit status and first code of each command."""
    head = "| report | check | run | cause | cure named | twin: check / run |\n|---|---|---|---|---|---|\n"
    lines = "".join(f"| {' | '.join(row.cells())} |\n" for row in rows)
    return f"{summary(rows)}.\n\n{head}{lines}"


if __name__ == "__main__":
    sys.exit(main())
