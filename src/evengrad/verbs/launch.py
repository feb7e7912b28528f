"""Python processes that a script or a launcher starts by a command line: which of them train, and how each is
begun so that it is followed.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from evengrad.adapters.common.source import is_own

LAUNCHERS = ("torchrun", "accelerate", "deepspeed")
"""Commands that start the processes of a training."""
_LAUNCHER_MODULES = (
    "torch.distributed.run",
    "torch.distributed.launch",
    "accelerate.commands.launch",
)
_WITH_VALUE = ("-W", "-X", "--check-hash-based-pycs")
_WORKER = str(Path(__file__).with_name("launch_worker.py"))


@dataclass(frozen=True, slots=True)
class PythonCommand:
    """What a command line runs.

    Attributes:
        python: the interpreter, with its options.
        target: the script's path, or with ``module`` a dotted name.
        arguments: its ``sys.argv[1:]``.
        module: whether the target is a module.
    """

    python: tuple[str, ...]
    target: str
    arguments: tuple[str, ...]
    module: bool = False


def is_launcher(target: str) -> bool:
    """Whether a script or module starts the processes of a training."""
    return target in _LAUNCHER_MODULES or Path(target).name in LAUNCHERS


def python_command(words: Sequence[object]) -> PythonCommand | None:
    """A command line that runs a script or a module with this Python; None for any other."""
    given = [os.fspath(word) if isinstance(word, os.PathLike) else word for word in words]
    if not given or not all(isinstance(word, str) for word in given):
        return None
    line = [word for word in given if isinstance(word, str)]
    if not _is_python(line[0]):
        path = _script_of(line[0])
        return None if path is None else PythonCommand((sys.executable,), path, (*line[1:],))
    place = 1
    while (
        place < len(line) and line[place].startswith("-") and line[place] not in ("-", "-c", "-m")
    ):
        place += 2 if line[place] in _WITH_VALUE else 1
    rest = line[place:]
    if len(rest) > 1 and rest[0] == "-m":
        return PythonCommand((*line[:place],), rest[1], (*rest[2:],), module=True)
    if not rest or rest[0].startswith("-"):
        return None
    return PythonCommand((*line[:place],), rest[0], (*rest[1:],))


def typed(target: str, arguments: Sequence[str], module: bool) -> tuple[str, Sequence[str], bool]:
    """What stands behind ``evengrad run``, where that is a launcher's command line or one of Python."""
    if module or os.path.exists(target):
        return target, arguments, module
    found = python_command([target, *arguments])
    return (
        (target, arguments, module)
        if found is None
        else (found.target, found.arguments, found.module)
    )


def trains(command: PythonCommand, folder: str | None) -> bool:
    """Whether that is the user's own code, or starts it. folder: where it runs."""
    place = folder or os.getcwd()
    if is_launcher(command.target):
        return True
    if not command.module:
        path = os.path.join(place, command.target)
        return os.path.isfile(path) and is_own(path)
    top = command.target.partition(".")[0]
    if any(os.path.exists(os.path.join(place, name)) for name in (top, f"{top}.py")):
        return True
    try:
        spec = importlib.util.find_spec(top)
    except (ImportError, ValueError):
        return False
    places = [] if spec is None else [*(spec.submodule_search_locations or ()), spec.origin]
    return any(one is not None and os.path.exists(one) and is_own(one) for one in places)


def followed(command: PythonCommand, place: Path, name: str, rank: int) -> list[str]:
    """The command line that runs the same, and does the task in ``place``. name: of what it tells."""
    kind = "module" if command.module else "script"
    return [
        *command.python,
        _WORKER,
        str(place),
        name,
        str(rank),
        kind,
        command.target,
        *command.arguments,
    ]


def _is_python(word: str) -> bool:
    found = shutil.which(word)
    return found is not None and os.path.realpath(found) == os.path.realpath(sys.executable)


def _script_of(word: str) -> str | None:
    """The file of a launcher: a Python script with this interpreter in its first line."""
    if Path(word).name not in LAUNCHERS:
        return None
    beside = os.path.join(os.path.dirname(sys.executable), word)
    found = beside if os.path.isfile(beside) else shutil.which(word)
    if found is None:
        return None
    with open(found, "rb") as file:
        first = file.readline()
    return found if first.startswith(b"#!") and b"python" in first else None
