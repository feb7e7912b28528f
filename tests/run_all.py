"""What `make test` runs: every step in a process of its own, two at a time, then a summary."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PYTHON = sys.executable
LINT_IMPORTS = [PYTHON, "-c", "from importlinter.cli import lint_imports_command as c; c()"]


@dataclass(frozen=True)
class Step:
    """One command; backend: the Keras backend it runs with, None for none at all. flags: XLA_FLAGS."""

    name: str
    command: list[str]
    backend: str | None = None
    flags: str = ""


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
# Nearly all of the tests' time on JAX is compilation, which takes twice as long when it optimises.
PLAIN = "--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true"
TESTS = [  # the longest first
    Step("tests: torch", _pytest("not keras and not examples")),
    Step("tests: keras on tensorflow", _pytest("keras and not once"), "tensorflow"),
    Step("tests: keras on jax", _pytest("keras and not (optimised or once)"), "jax", PLAIN),
    Step("tests: keras on jax, optimised", _pytest("keras and optimised"), "jax"),
    Step("tests: keras on torch", _pytest("keras"), "torch"),
    Step("examples", _pytest("examples")),
]


def run(step: Step) -> Outcome:
    """Run one step, on one thread, and show its output when it is over."""
    environment = dict(os.environ, TF_CPP_MIN_LOG_LEVEL="3", OMP_NUM_THREADS="1")
    environment.pop("KERAS_BACKEND", None)
    if step.backend is not None:
        environment |= {"KERAS_BACKEND": step.backend, "XLA_FLAGS": step.flags}
    print(f"-- {step.name} ...", flush=True)
    start = time.monotonic()
    done = subprocess.run(
        step.command,
        cwd=ROOT,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        check=False,
    )
    outcome = Outcome(step, done.returncode, time.monotonic() - start)
    print(f"\n== {step.name} ({outcome.seconds:.0f} s)\n{done.stdout}", flush=True)
    return outcome


def main(arguments: list[str]) -> int:
    """Run the lint steps, and unless told `lint` the tests; 1 if any of them failed."""
    steps = LINT if arguments == ["lint"] else LINT + TESTS
    with ThreadPoolExecutor(max_workers=2) as pool:
        outcomes = list(pool.map(run, steps))
    print("\n== summary")
    for outcome in outcomes:
        verdict = "ok" if outcome.status == 0 else f"FAILED ({outcome.status})"
        print(f"{outcome.step.name:<26}{outcome.seconds:6.0f} s  {verdict}")
    return int(any(outcome.status for outcome in outcomes))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
