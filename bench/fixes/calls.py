"""Runs scripts and `evengrad fix` on them, each call once: results are kept by what was called."""

from __future__ import annotations

import hashlib
import json
import math
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from types import MappingProxyType

from bench.fixes.scripts import script
from bench.fixes.specs import Spec
from bench.fixes.warm import interpreter

ROOT = Path(__file__).parents[2]
CACHE = Path(__file__).parent / ".cache"
_VERSION = "1"
_LIMIT = 900  # seconds
COLD = "EVENGRAD_BENCH_COLD"
"""In the environment: each process imports its framework itself (``warm``)."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What `evengrad fix` said. codes, causes: of its findings, first first. tried: remedies. cost: in plain
    runs.
    """

    status: str
    codes: tuple[str, ...] = ()
    causes: tuple[str, ...] = ()
    remedy: str | None = None
    by_hand: bool = False
    cost: float = math.nan
    tried: tuple[str, ...] = ()
    message: str = ""


def is_known(source: str, options: tuple[str, ...] | None = None, backend: str = "") -> bool:
    """Whether the plain run of a script, or with options its fix, was made before."""
    facts = ("plain", source) if options is None else ("fix", source, *options, backend)
    return _kept(*facts).exists()


def plain(spec: Spec) -> float:
    """The mean loss at the end of the script itself, without evengrad; NaN where it raised."""
    source = script(spec)
    kept = _kept("plain", source)
    if kept.exists():
        return float(json.loads(kept.read_text()))
    with tempfile.TemporaryDirectory() as folder:
        done = _run(_python(source), [_written(folder, source)], folder)
    try:
        value = float(done.stdout.strip().splitlines()[-1])
    except (IndexError, ValueError):
        raise RuntimeError(f"{spec.name} does not run:\n{done.stderr[-2000:]}") from None
    _keep(kept, value if math.isfinite(value) else "nan")
    return value


def fixed(name: str, source: str, options: tuple[str, ...], backend: str = "") -> Outcome:
    """What `evengrad fix` makes of a script. backend: of Keras, where it is not the default."""
    kept = _kept("fix", source, *options, backend)
    if kept.exists():
        return _outcome(json.loads(kept.read_text()))
    with tempfile.TemporaryDirectory() as folder:
        path = _written(folder, source)
        json_file = Path(folder) / "out.json"
        call = ["-m", "evengrad", "fix", path, "--json", str(json_file), *options]
        if options[:1] == ("--search",):
            call = ["-m", "bench.fixes.searches", options[1], path, str(json_file)]
        more = {"KERAS_BACKEND": backend} if backend else {}
        done = _run(_python(source, backend), call, folder, more)
        if json_file.exists():
            found = json.loads(json_file.read_text())
            told = _told(found)
        else:
            told = asdict(Outcome("crashed", message=f"{name}: {done.stderr[-500:]}"))
    _keep(kept, told)
    return _outcome(told)


def _told(found: dict[str, object]) -> dict[str, object]:
    attempts, findings = found["attempts"], found["findings"]
    assert isinstance(attempts, list)
    assert isinstance(findings, list)
    return {
        "status": found["status"],
        "codes": [f["code"] for f in findings],
        "causes": [f["cause"] for f in findings],
        "remedy": found["remedy"],
        "by_hand": bool(found["manual"]),
        "cost": found["cost"],
        "tried": [f"{a['remedy']}: {a['why']}" for a in attempts],
        "message": found["message"],
    }


def _outcome(told: dict[str, object]) -> Outcome:
    lists = {k: tuple(told[k]) for k in ("codes", "causes", "tried")}  # type: ignore[arg-type]
    return Outcome(**{**told, **lists})  # type: ignore[arg-type]


def _python(source: str, backend: str = "") -> str:
    """What to run it with."""
    if COLD in os.environ:
        return sys.executable
    return interpreter("keras" if "import keras" in source else "torch", backend)


def _run(
    python: str,
    arguments: list[str],
    folder: str,
    given: Mapping[str, str] = MappingProxyType({}),
) -> subprocess.CompletedProcess[str]:
    path = os.pathsep.join(
        [str(ROOT / "src"), str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    )
    more = {"PYTHONPATH": path, "OMP_NUM_THREADS": "1", "TF_CPP_MIN_LOG_LEVEL": "3"}
    return subprocess.run(
        [python, *arguments],
        cwd=folder,
        env={**os.environ, **more, **given},
        capture_output=True,
        text=True,
        timeout=_LIMIT,
        check=False,
    )


def _written(folder: str, source: str) -> str:
    (Path(folder) / "train.py").write_text(source)
    return "train.py"


def _kept(*facts: str) -> Path:
    key = hashlib.sha256("\0".join([_VERSION, *facts]).encode()).hexdigest()[:20]
    return CACHE / f"{key}.json"


def _keep(file: Path, value: object) -> None:
    CACHE.mkdir(exist_ok=True)
    part = file.with_suffix(".part")
    part.write_text(json.dumps(value))
    part.replace(file)
