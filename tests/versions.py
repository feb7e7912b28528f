"""What `make test-versions` runs: the oldest and the newest version of each framework, into a table.

The oldest is the one that pyproject.toml declares, the newest the registry's. Each has an environment
of its own in a folder that is removed afterwards; ``--keep FOLDER`` keeps it there, and uses what is
there already. A framework that cannot be installed is a row that says so.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import tempfile
import time
import tomllib
import venv
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
PAGE = ROOT / "docs" / "versions.md"
TOOLS = ["pytest>=8", "pytest-timeout", "hypothesis", "scikit-learn", "mlxtend>=0.23"]
FOLDERS = ["tests/adapters", "tests/conformance"]
HEAD = "| framework | versions | passed | failed | skipped |\n|---|---|---|---|---|\n"


@dataclass(frozen=True)
class Frontend:
    """An extra of pyproject.toml; backend: Keras' own, None for PyTorch. example: a healthy script."""

    extra: str
    title: str
    backend: str | None
    example: str
    arguments: tuple[str, ...] = ()


FRONTENDS = [
    Frontend("torch", "PyTorch", None, "examples/torch_cnn.py", ("--", "--epochs", "1")),
    Frontend("tensorflow", "Keras on TensorFlow", "tensorflow", "examples/healthy/keras_cnn.py"),
    Frontend("jax", "Keras on JAX", "jax", "examples/healthy/keras_cnn.py"),
]


@dataclass
class Row:
    """One environment and what came of it; trouble: why there is nothing to count."""

    frontend: Frontend
    pins: dict[str, str]
    passed: int = 0
    failed: int = 0
    skipped: int = 0
    trouble: str = ""

    @property
    def name(self) -> str:
        return "-".join([self.frontend.extra, *self.pins.values()])

    def __str__(self) -> str:
        versions = ", ".join(f"{package} {version}" for package, version in self.pins.items())
        counts = f"{self.passed} | {self.failed} | {self.skipped}"
        return f"| {self.frontend.title} | {versions} | {self.trouble or counts} |" + (
            " | |" if self.trouble else ""
        )


def oldest(extra: str) -> dict[str, str]:
    """Package: the lowest version that the extra allows."""
    declared = PROJECT["optional-dependencies"][extra]
    found = (re.fullmatch(r"([\w-]+)>=([\w.]+).*", requirement) for requirement in declared)
    pins = {match[1]: match[2] for match in found if match}
    if len(pins) != len(declared):
        raise SystemExit(f"pyproject.toml, [{extra}]: expected only package>=version: {declared}")
    return {package: version + ".0" * (2 - version.count(".")) for package, version in pins.items()}


def newest(extra: str) -> dict[str, str]:
    """Package: the highest version on the registry that this Python can install."""
    return {package: _latest(package) for package in oldest(extra)}


def _latest(package: str) -> str:
    command = [sys.executable, "-m", "pip", "index", "versions", package]
    said = subprocess.run(command, capture_output=True, text=True, check=False)
    match = re.search(r"Available versions: ([\w.]+)", said.stdout)
    if match is None:
        raise SystemExit(f"pip index versions {package}: no version found.\n{said.stderr}")
    return match[1]


def environment(row: Row, folder: Path) -> Path | None:
    """The interpreter of its environment, made unless it is there; None if it cannot be installed."""
    python = folder / row.name / "bin" / "python"
    done = folder / row.name / ".installed"
    if done.exists():
        return python
    venv.create(folder / row.name, with_pip=True, clear=True)
    pinned = [f"{package}=={version}" for package, version in row.pins.items()]
    wanted = [*pinned, *PROJECT["dependencies"], *TOOLS]
    command = [str(python), "-m", "pip", "install", "-q", *wanted]
    said = subprocess.run(command, capture_output=True, text=True, check=False)
    if said.returncode:
        lines = [line for line in said.stderr.splitlines() if line.startswith("ERROR")]
        row.trouble = "not installed: " + (lines or ["pip failed"])[0].removeprefix("ERROR: ")
        return None
    done.touch()
    return python


def surroundings(frontend: Frontend) -> dict[str, str]:
    """Our own source, one thread, and the backend."""
    found = dict(os.environ, PYTHONPATH=str(ROOT / "src"), OMP_NUM_THREADS="1")
    found |= {"TF_CPP_MIN_LOG_LEVEL": "3"}
    found.pop("KERAS_BACKEND", None)
    return found | ({} if frontend.backend is None else {"KERAS_BACKEND": frontend.backend})


def run_tests(row: Row, python: Path) -> None:
    """The tests that touch a framework; their output is shown where one fails."""
    keras = row.frontend.backend is not None
    files = [
        str(path.relative_to(ROOT))
        for folder in FOLDERS
        for path in sorted((ROOT / folder).rglob("test_*.py"))
        if keras == path.name.startswith("test_keras_")
    ]
    command = [str(python), "-m", "pytest", "-q", "-p", "no:cacheprovider", *files]
    said = subprocess.run(
        command,
        cwd=ROOT,
        env=surroundings(row.frontend),
        capture_output=True,
        text=True,
        check=False,
    )
    last = (said.stdout.strip().splitlines() or [""])[-1]
    counts = {kind: int(n) for n, kind in re.findall(r"(\d+) (passed|failed|skipped|error)", last)}
    row.passed += counts.get("passed", 0)
    row.failed += counts.get("failed", 0) + counts.get("error", 0)
    row.skipped += counts.get("skipped", 0)
    if said.returncode:
        row.failed += not row.failed
        print(said.stdout[-20_000:] + said.stderr[-2_000:], flush=True)


def run_example(row: Row, python: Path) -> None:
    """check, run and fix of a healthy script find nothing; each counts as a test."""
    script = str(ROOT / row.frontend.example)
    commands = [
        ["check", script, "--no-html"],
        ["run", "--no-html", script, *row.frontend.arguments],
        ["fix", script, "--steps", "20", "--seeds", "1", *row.frontend.arguments],
    ]
    for command in commands:
        with tempfile.TemporaryDirectory() as folder:
            said = subprocess.run(
                [str(python), "-m", "evengrad", *command],
                cwd=folder,
                env=surroundings(row.frontend),
                capture_output=True,
                text=True,
                check=False,
            )
        row.passed += said.returncode == 0
        row.failed += said.returncode != 0
        if said.returncode:
            what = f"evengrad {' '.join(command)}: status {said.returncode}"
            print(f"{what}\n{said.stdout[-4_000:]}{said.stderr[-4_000:]}", flush=True)


def fill(row: Row, folder: Path) -> None:
    """Install, test, and say how long each took."""
    start = time.monotonic()
    print(f"-- {row.name}: installing ...", flush=True)
    python = environment(row, folder)
    print(f"   {time.monotonic() - start:.0f} s {row.trouble}", flush=True)
    if python is None:
        return
    for step in (run_tests, run_example):
        start = time.monotonic()
        step(row, python)
        print(f"   {step.__name__}: {time.monotonic() - start:.0f} s", flush=True)
    print(f"   {row}", flush=True)


def main() -> int:
    """Every row, the table, and 1 if anything failed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--keep", type=Path, metavar="FOLDER", help="environments stay there")
    parser.add_argument("--only", choices=[f.extra for f in FRONTENDS], help="one framework")
    parser.add_argument("--write", action="store_true", help=f"into {PAGE.relative_to(ROOT)}")
    given = parser.parse_args()
    wanted = [f for f in FRONTENDS if given.only in (None, f.extra)]
    rows = [Row(f, pins) for f in wanted for pins in (oldest(f.extra), newest(f.extra))]
    for row in rows:
        if given.keep is not None:
            fill(row, given.keep.resolve())
        else:
            with tempfile.TemporaryDirectory(prefix="evengrad-versions-") as folder:
                fill(row, Path(folder))
    before, _, kept = PAGE.read_text(encoding="utf-8").partition(HEAD)
    lines = [f"{row}\n" for row in rows]
    for other in [f for f in FRONTENDS if f not in wanted]:
        lines += [line for line in kept.splitlines(True) if line.startswith(f"| {other.title} |")]
    table = HEAD + "".join(lines)
    print(f"\n{table}", flush=True)
    if given.write:
        PAGE.write_text(before + table, encoding="utf-8")
    return int(any(row.failed or row.trouble for row in rows))


if __name__ == "__main__":
    sys.exit(main())
