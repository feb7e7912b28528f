"""What `make test` runs: every step in a process of its own, two at a time, then a summary.

Tests are spread by file: a group (its framework, its marks) is one or more steps of about as many
lines of tests, so that both cores have work until the end. What JAX compiles it keeps for the run.
"""

from __future__ import annotations

import os
import re
import resource
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TESTS = ROOT / "tests"
PYTHON = sys.executable
LINT_IMPORTS = [PYTHON, "-c", "from importlinter.cli import lint_imports_command as c; c()"]
# Nearly all of the tests' time on JAX is compilation, which takes thrice as long when it optimises and fuses.
PLAIN = (
    "--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true"
    " --xla_cpu_use_fusion_emitters=false --xla_cpu_parallel_codegen_split_count=1"
)


@dataclass(frozen=True)
class Step:
    """One command; backend: the Keras backend it runs with, None for none at all. flags: XLA_FLAGS."""

    name: str
    command: list[str]
    backend: str | None = None
    flags: str = ""


@dataclass(frozen=True)
class Group:
    """Tests that run in the same surroundings.

    files: a pattern of their paths; word: one that each has in it; parts: processes that share them.
    """

    name: str
    marks: str
    files: str
    parts: int
    backend: str | None = None
    flags: str = ""
    word: str = ""

    def steps(self) -> list[Step]:
        """One a part; each takes the next longest file while it has the fewest lines."""
        shares: list[list[Path]] = [[] for _ in range(self.parts)]
        lengths = [0] * self.parts
        for length, path in sorted(
            ((_text(path).count("\n"), path) for path in self._files()), reverse=True
        ):
            least = lengths.index(min(lengths))
            shares[least].append(path)
            lengths[least] += length
        return [
            Step(
                self.name if self.parts == 1 else f"{self.name}, {number} of {self.parts}",
                [PYTHON, "-m", "pytest", "-q", *map(str, sorted(share)), "-m", self.marks],
                self.backend,
                self.flags,
            )
            for number, share in enumerate(shares, 1)
        ]

    def _files(self) -> list[Path]:
        found = [path.relative_to(ROOT) for path in TESTS.rglob("test_*.py")]
        return [
            path
            for path in found
            if re.search(self.files, path.as_posix()) and self.word in _text(path)
        ]


def _text(path: Path) -> str:
    return (ROOT / path).read_text(encoding="utf-8")


@dataclass(frozen=True)
class Outcome:
    """What came of a step; processor: seconds of processor time, of what it started as well."""

    step: Step
    status: int
    seconds: float = field(compare=False)
    processor: float = field(compare=False)


LINT = [
    Step("ruff check", [PYTHON, "-m", "ruff", "check", "."]),
    Step("ruff format", [PYTHON, "-m", "ruff", "format", "--check", "."]),
    Step("mypy", [PYTHON, "-m", "mypy"]),
    Step("import rules", LINT_IMPORTS),
]
KERAS = "/test_keras_"
GROUPS = [  # the longest first
    Group("keras on tensorflow", "keras and not once", KERAS, 2, "tensorflow"),
    Group("keras on jax", "keras and not (optimised or once)", KERAS, 2, "jax", PLAIN),
    Group("torch", "not keras and not examples and not loops", r"/test_(?!keras_|examples)", 3),
    Group("keras on torch", "keras", KERAS, 1, "torch"),
    Group("keras on jax, optimised", "keras and optimised", KERAS, 1, "jax", word="optimised"),
    Group("examples", "examples", "/test_examples", 1),
]


def run(step: Step, folder: Path) -> Outcome:
    """Run one step, on one thread, and show its output when it is over."""
    environment = dict(os.environ, TF_CPP_MIN_LOG_LEVEL="3", OMP_NUM_THREADS="1")
    environment |= {
        "JAX_COMPILATION_CACHE_DIR": str(folder / "jax"),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1",
    }
    for name in ("KERAS_BACKEND", "PYTHONDONTWRITEBYTECODE"):
        environment.pop(name, None)
    if step.backend is not None:
        environment |= {"KERAS_BACKEND": step.backend, "XLA_FLAGS": step.flags}
    print(f"-- {step.name} ...", flush=True)
    start = time.monotonic()
    with tempfile.TemporaryFile(dir=folder) as output:
        process = subprocess.Popen(
            step.command, cwd=ROOT, env=environment, stdout=output, stderr=subprocess.STDOUT
        )
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        output.seek(0)
        text = output.read().decode(errors="replace")
    outcome = Outcome(step, process.returncode, time.monotonic() - start, _processor(used))
    print(f"\n== {step.name} ({outcome.seconds:.0f} s)\n{text}", flush=True)
    return outcome


def _processor(used: resource.struct_rusage) -> float:
    return used.ru_utime + used.ru_stime


def main(arguments: list[str]) -> int:
    """Run the lint steps, and unless told `lint` the tests; 1 if any of them failed."""
    tests = [step for group in GROUPS for step in group.steps()]
    steps = LINT if arguments == ["lint"] else [*tests, *LINT]
    start = time.monotonic()
    with (
        tempfile.TemporaryDirectory(prefix="evengrad-tests-") as folder,
        ThreadPoolExecutor(max_workers=2) as pool,
    ):
        outcomes = list(pool.map(lambda step: run(step, Path(folder)), steps))
    print(f"\n== summary{'wall':>29}{'processor':>12}")
    for outcome in outcomes:
        verdict = "ok" if outcome.status == 0 else f"FAILED ({outcome.status})"
        times = f"{outcome.seconds:7.0f} s {outcome.processor:9.0f} s"
        print(f"{outcome.step.name:<30}{times}  {verdict}")
    total = sum(outcome.processor for outcome in outcomes)
    print(f"{'all':<30}{time.monotonic() - start:7.0f} s {total:9.0f} s")
    return int(any(outcome.status for outcome in outcomes))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
