"""What check, run and fix say of each loop, and the table of it in docs/loops.md.

A row that was not measured now, for its packages live in another environment, stays as it was measured last.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from bench.loops.cases import Loop

ROOT = Path(__file__).resolve().parents[2]
RESULTS = Path(__file__).with_name("results.json")
PAGE = ROOT / "docs" / "loops.md"
_LIMIT = 400
_HEALTHY = {"check": (0,), "run": (0,)}
_SICK = {"check": (1,), "run": (1, 3), "fix": (0,)}
_WORDS = {0: "healthy", 1: "findings", 2: "could not", 3: "stopped", 4: "failed", -1: "too long"}
_FIX = {0: "fixed", 1: "not fixed", 2: "could not", -1: "too long"}


def measure(loop: Loop, verbs: tuple[str, ...]) -> dict[str, Any]:
    """Exit statuses, healthy and sick, with the first finding of the sick one."""
    row: dict[str, Any] = {
        "title": loop.title,
        "versions": loop.versions,
        "healthy": {},
        "sick": {},
    }
    with tempfile.TemporaryDirectory() as folder:
        for kind, text in (("healthy", loop.healthy), ("sick", loop.sick)):
            Path(folder, "train.py").write_text(text)
            for verb in verbs:
                if (verb, kind) != ("fix", "healthy"):
                    row[kind][verb] = _said(loop, verb, Path(folder))
    return row


def _said(loop: Loop, verb: str, folder: Path) -> list[Any]:
    told = folder / "told.json"
    told.unlink(missing_ok=True)
    options = ["--no-html", "--json", str(told), *(["--no-rerun"] if verb == "run" else [])]
    target = ["--", *loop.command, "train.py"] if loop.command else ["train.py"]
    environment = dict(os.environ, OMP_NUM_THREADS="1", WANDB_MODE="offline", HF_HUB_OFFLINE="1")
    environment |= {"PYTHONPATH": str(ROOT / "src")}
    if loop.backend is not None:
        environment["KERAS_BACKEND"] = loop.backend
    try:
        done = subprocess.run(
            [sys.executable, "-m", "evengrad", verb, *options, *target],
            cwd=folder,
            env=environment,
            capture_output=True,
            text=True,
            timeout=_LIMIT,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return [-1, ""]
    code = ""
    if told.exists():
        codes = [one["code"] for one in json.loads(told.read_text()).get("findings", [])]
        code = codes[0] if codes else ""
    return [done.returncode, code]


def good(row: dict[str, Any]) -> bool:
    """Whether each command said what it should."""
    expected = (("healthy", _HEALTHY), ("sick", _SICK))
    return all(
        said[0] in statuses.get(verb, ())
        for kind, statuses in expected
        for verb, said in row[kind].items()
    )


def page(rows: dict[str, dict[str, Any]]) -> str:
    """docs/loops.md."""
    lines = [
        *_HEAD.splitlines(),
        "",
        "| loop | tested with | healthy: check | run | sick: check | run | fix |",
        "|---|---|---|---|---|---|---|",
    ]
    for name in sorted(rows):
        row = rows[name]
        cells = [_cell(row, kind, verb) for kind, verb in _COLUMNS]
        lines.append(f"| {row['title']} | {row['versions']} | {' | '.join(cells)} |")
    well = sum(map(good, rows.values()))
    lines += ["", f"{well} of {len(rows)} are well in every column that was measured."]
    return "\n".join(lines) + "\n"


_HEAD = """\
# Loops

Each row is a small training as its users write it, and the same with a learning rate far too large, under
`evengrad check`, `run` and `fix`, unmodified. `python -m bench.loops --write` measures those whose packages are
installed; the scripts are in [bench/loops/scripts](../bench/loops/scripts). Well is: no finding of the healthy
one, a finding of the sick one, and a patch with which it trains. A cell in bold is not well; "-": not measured.
What a row says of the sick one is its first finding.

What a trainer's own log does not show: Hugging Face's `Trainer` writes the running mean in place of a loss that
is NaN (`logging_nan_inf_filter`), and its `on_pre_optimizer_step` sees gradients that are clipped already;
Lightning's `on_before_optimizer_step` sees them before `gradient_clip_val`. evengrad's norms are those before
any clip, its losses those that were differentiated."""
_COLUMNS = (
    ("healthy", "check"),
    ("healthy", "run"),
    ("sick", "check"),
    ("sick", "run"),
    ("sick", "fix"),
)


def _cell(row: dict[str, Any], kind: str, verb: str) -> str:
    if verb not in row[kind]:
        return "-"
    status, code = row[kind][verb]
    word = (_FIX if verb == "fix" else _WORDS).get(status, f"status {status}")
    right = status in (_HEALTHY if kind == "healthy" else _SICK)[verb]
    shown = f"{word}, {code}" if code and verb != "fix" else word
    return shown if right else f"**{shown}**"
