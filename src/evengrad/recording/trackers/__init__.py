"""Where people already look: a run's figures and findings in TensorBoard, W&B, MLflow or Trackio.

Each has a file here, found by being there: its ``PACKAGE``, and ``start(folder, name, config)``, which gives a
``Sink``. A run of our own is made there, beside the script's, so that no step counter of the script's moves.
"""

from __future__ import annotations

import importlib
import importlib.util
import pkgutil
from collections.abc import Sequence
from pathlib import Path

from evengrad.errors import EvengradError
from evengrad.recording.trackers.tracking import Tracking
from evengrad.values.message import msg

_NOT = ("sink", "tracking")


def names() -> list[str]:
    """Of those that there are."""
    return sorted(m.name for m in pkgutil.iter_modules(__path__) if m.name not in _NOT)


def chosen(to: str | Sequence[str] | None) -> tuple[str, ...]:
    """Their names, from what a user writes: one, several with commas between, or a list.

    Raises:
        EvengradError: one that there is not, or whose package is not installed.
    """
    given = [] if to is None else to.split(",") if isinstance(to, str) else list(to)
    found = tuple(name.strip().lower() for name in given if name.strip())
    for name in found:
        if name not in names():
            raise EvengradError(
                msg(
                    "Expected a tracker of {names}, got {name!r}.",
                    names=", ".join(names()),
                    name=name,
                )
            )
        package = importlib.import_module(f"{__name__}.{name}").PACKAGE
        if importlib.util.find_spec(package) is None:
            raise EvengradError(
                msg(
                    "The tracker {name!r} needs the package {package}, which is not installed: "
                    "pip install 'evengrad[{name}]'",
                    name=name,
                    package=package,
                )
            )
    return found


def tracking(name: str, run: str, folder: Path | None, held: bool) -> Tracking:
    """The listener that hands a run on to one of them. run: its name. held: see Settings."""
    return Tracking(importlib.import_module(f"{__name__}.{name}").start, run, folder, held)
