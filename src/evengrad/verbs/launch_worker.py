"""A Python process that a script or a launcher has started: its script, with the task around it.

Run by its path, for the process may have no way to this package: ``launch.followed`` makes the command line.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path


def main(place: Path, name: str, rank: int, kind: str, target: str, arguments: list[str]) -> None:
    """Run the target as Python would, and do the task of ``place``."""
    from evengrad.verbs.follow import launched
    from evengrad.verbs.host import as_main, execute

    module = kind == "module"
    with as_main(target, arguments, module):
        launched(place, name, rank, target, lambda: execute(target, module))


def _begin() -> None:
    sys.path[0] = str(Path(__file__).resolve().parents[2])  # for our own package alone
    import evengrad.verbs.follow  # noqa: F401

    sys.path[0] = os.getcwd()
    place, name, rank, kind, target, *arguments = sys.argv[1:]
    main(Path(place), name, int(rank), kind, target, arguments)


if __name__ == "__main__":
    _begin()
