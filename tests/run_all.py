"""What `make test` runs: every step in a process of its own, all of them, then a summary."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PYTHON = sys.executable
LINT_IMPORTS = [PYTHON, "-c", "from importlinter.cli import lint_imports_command as c; c()"]


@dataclass(frozen=True)
class Step:
    """One command; backend: the Keras backend it runs with, None for none at all."""

    name: str
    command: list[str]
    backend: str | None = None


@dataclass(frozen=True)
class Outcome:
    """What came of a step."""

    step: Step
    status: int
    seconds: float = field(compare=False)


def _pytest(selection: str) -> list[str]:
    return [PYTHON, "-m", "pytest", "-q", "tests", "-m", selection]


LINT = [
    Step("ruff check", [PYTHON, "-m", "ruff", "check", "."]),
    Step("ruff format", [PYTHON, "-m", "ruff", "format", "--check", "."]),
    Step("mypy", [PYTHON, "-m", "mypy"]),
    Step("import rules", LINT_IMPORTS),
]
TESTS = [
    Step("tests: torch", _pytest("not keras and not examples")),
    *(
        Step(f"tests: keras on {backend}", _pytest("keras"), backend)
        for backend in ("tensorflow", "jax", "torch")
    ),
    Step("examples", _pytest("examples")),
]


def run(step: Step) -> Outcome:
    """Run one step with its output passed through."""
    print(f"\n== {step.name}", flush=True)
    environment = dict(os.environ, TF_CPP_MIN_LOG_LEVEL="3")
    environment.pop("KERAS_BACKEND", None)
    if step.backend is not None:
        environment["KERAS_BACKEND"] = step.backend
    start = time.monotonic()
    status = subprocess.run(step.command, cwd=ROOT, env=environment, check=False).returncode
    return Outcome(step, status, time.monotonic() - start)


def main(arguments: list[str]) -> int:
    """Run the lint steps, and unless told `lint` the tests; 1 if any of them failed."""
    outcomes = [run(step) for step in (LINT if arguments == ["lint"] else LINT + TESTS)]
    print("\n== summary")
    for outcome in outcomes:
        verdict = "ok" if outcome.status == 0 else f"FAILED ({outcome.status})"
        print(f"{outcome.step.name:<26}{outcome.seconds:6.0f} s  {verdict}")
    return int(any(outcome.status for outcome in outcomes))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
