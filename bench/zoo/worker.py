"""One framework's part, in a process of its own: JSON lines on standard output.

{"at": name, "of": how many steps in all} for each step, {"verdict": ...} for each architecture.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import sys
import traceback
from typing import Any, TextIO

from bench.zoo.architecture import Architecture
from bench.zoo.cache import measured
from bench.zoo.judge import Verdict, forecast, judge

HALVES = {
    "both": ("development", "held-out"),
    "all": ("development", "held-out", "real"),
    "development": ("development",),
    "held-out": ("held-out",),
    "real": ("real",),
}
FRAMEWORKS = ("torch", "keras")
FILES = ("dense", "convolutions", "branches", "tokens")


def members(framework: str, half: str, only: list[str]) -> list[Architecture]:
    """The architectures asked for. only: parts of names."""
    found: list[Architecture] = []
    wanted = HALVES["all" if only else half]
    package = f"bench.zoo.{framework}"
    if wanted != HALVES["real"]:
        for file in FILES:
            importlib.import_module(f"{package}.{file}")
        found += importlib.import_module(f"{package}.collection").zoo.members.values()
    if "real" in wanted:
        found += importlib.import_module(f"{package}.real").zoo.members.values()
    if only:
        return [a for a in found if any(part in a.name for part in only)]
    return [a for a in found if a.half in wanted]


def verdict(
    architecture: Architecture, seeds: int, *, fresh: bool, abstract: bool, tell: Any
) -> Verdict:
    """Measure (or read) all seeds, forecast, compare; failures become a verdict too."""
    try:
        points = []
        for seed in range(seeds):
            points.append(measured(architecture, seed, fresh=fresh))
            tell()
        result = judge(architecture, points, forecast(architecture, abstract=abstract))
    except Exception as error:
        traceback.print_exc()
        text = f"{type(error).__name__}: {error}".split("\n")[0]
        about = architecture.about, architecture.framework, architecture.half
        result = Verdict(architecture.name, *about, error=text)
    tell()
    return result


def work(arguments: argparse.Namespace, out: TextIO) -> None:
    """Go through all architectures."""
    chosen = members(arguments.framework, arguments.half, arguments.only)
    steps = len(chosen) * (arguments.seeds + 1)
    for architecture in chosen:

        def tell(name: str = architecture.name) -> None:
            print(json.dumps({"at": name, "of": steps}), file=out, flush=True)

        options = {"fresh": arguments.fresh, "abstract": arguments.abstract, "tell": tell}
        found = verdict(architecture, arguments.seeds, **options)
        print(json.dumps({"verdict": found.to_json()}), file=out, flush=True)


def main() -> None:
    """Standard output is for the parent alone; what libraries print goes to standard error."""
    parser = argparse.ArgumentParser()
    parser.add_argument("framework", choices=FRAMEWORKS)
    parser.add_argument("--half", choices=HALVES, default="both")
    parser.add_argument("--only", nargs="*", default=[])
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--fresh", action="store_true")
    parser.add_argument("--abstract", action="store_true")
    with os.fdopen(os.dup(1), "w") as out:
        os.dup2(2, 1)
        sys.stdout = sys.stderr
        work(parser.parse_args(), out)


if __name__ == "__main__":
    main()
