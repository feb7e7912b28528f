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
_VERSION = "3"
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
    score: float = math.nan


@dataclass(frozen=True, slots=True)
class Ending:
    """How a script ends, run alone without evengrad. loss: the mean of its last ones. score: the accuracy, of a
    regression the variance explained. NaN where it raised or was not finite.
    """

    loss: float
    score: float


def is_known(source: str, options: tuple[str, ...] | None = None, backend: str = "") -> bool:
    """Whether the plain run of a script, or with options its fix, was made before."""
    facts = ("plain", source) if options is None else ("fix", source, *options, backend)
    return _kept(*facts).exists()


def plain(spec: Spec) -> Ending:
    """The script itself, without evengrad."""
    source = script(spec)
    kept = _kept("plain", source)
    if not kept.exists():
        with tempfile.TemporaryDirectory() as folder:
            done = _run(_python(source), [_written(folder, source)], folder)
        found = _ending(done.stdout)
        if found is None:
            raise RuntimeError(f"{spec.name} does not run:\n{done.stderr[-2000:]}")
        _keep(kept, [str(found.loss), str(found.score)])
    loss, score = json.loads(kept.read_text())
    return Ending(float(loss), float(score))


def _ending(printed: str) -> Ending | None:
    """From the last two lines; None where there are none such."""
    try:
        score, loss = map(float, printed.strip().splitlines()[-2:])
    except ValueError:
        return None
    return Ending(loss, score)


def fixed(name: str, source: str, options: tuple[str, ...], backend: str = "") -> Outcome:
    """What `evengrad fix` makes of a script. backend: of Keras, where it is not the default."""
    kept = _kept("fix", source, *options, backend)
    if kept.exists():
        return _outcome(json.loads(kept.read_text()))
    with tempfile.TemporaryDirectory() as folder:
        path = _written(folder, source)
        json_file = Path(folder) / "out.json"
        call = ["-m", "evengrad", "fix", path, "--apply", "--json", str(json_file), *options]
        if options[:1] == ("--search",):
            call = ["-m", "bench.fixes.searches", options[1], path, str(json_file)]
        more = {"KERAS_BACKEND": backend} if backend else {}
        done = _run(_python(source, backend), call, folder, more)
        if json_file.exists():
            found = json.loads(json_file.read_text())
            told = _told(found)
        else:
            told = asdict(Outcome("crashed", message=f"{name}: {done.stderr[-500:]}"))
        told["score"] = str(_score(source, folder, backend))
    _keep(kept, told)
    return _outcome(told)


def _score(source: str, folder: str, backend: str) -> float:
    """What the script comes to that a fix has left, over its own length; NaN where it ends not finite."""
    left = (Path(folder) / "train.py").read_text()
    if left == source:
        return math.nan
    more = {"KERAS_BACKEND": backend} if backend else {}
    found = _ending(_run(_python(source, backend), ["train.py"], folder, more).stdout)
    return math.nan if found is None or not math.isfinite(found.loss) else found.score


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
    score = float(str(told.get("score", "nan")))
    return Outcome(**{**told, **lists, "score": score})  # type: ignore[arg-type]


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
