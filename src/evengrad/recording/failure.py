"""An own failure is said: one line with what to report, the traceback in a file."""

from __future__ import annotations

import dis
import logging
import platform
import sys
import tempfile
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any

from evengrad.errors import EvengradError, InternalError
from evengrad.values.version import __version__

log = logging.getLogger("evengrad")
_FRAMEWORKS = ("torch", "keras", "tensorflow", "jax")
_OURS = str(Path(__file__).resolve().parents[1])
_listeners: list[Callable[[InternalError], None]] = []


def internal(doing: str, error: BaseException) -> InternalError:
    """An error of ours, as what the user reads: one line with versions and the file of the traceback.

    doing: what failed, such as "measuring this script". An InternalError comes back as it is.
    """
    if isinstance(error, InternalError):
        return error
    what = " ".join(f"{type(error).__name__}: {error}".split())
    short = what if len(what) <= 200 else f"{what[:200]}..."
    found = InternalError(
        f"evengrad itself failed {doing} ({short}). Please report it with {versions()} "
        f"and {_written(doing, error)}."
    )
    found.__cause__ = error
    return found


def tell(error: BaseException) -> None:
    """Say that a training goes on unwatched: to whoever runs the script, else to the log.

    An EvengradError is no failure of ours: the settings do not fit this training.
    """
    if isinstance(error, EvengradError) and not isinstance(error, InternalError):
        log.warning("evengrad cannot watch this training (%s); it goes on without.", error)
        return
    found = internal("watching this training, which goes on without it", error)
    (_listeners[-1] if _listeners else log_it)(found)


class Once:
    """``tell``, but of the first error alone."""

    def __init__(self) -> None:
        self._told = False

    def __call__(self, error: BaseException) -> None:
        """Tell of it, where it is the first."""
        if not self._told:
            self._told = True
            tell(error)


def log_it(error: InternalError) -> None:
    """A line in the log, which is on stderr unless the script's own settings say otherwise."""
    log.warning("%s", error)


@contextmanager
def listening(listener: Callable[[InternalError], None]) -> Iterator[None]:
    """For this time what ``tell`` is given goes to this listener, from any thread."""
    _listeners.append(listener)
    try:
        yield
    finally:
        _listeners.remove(listener)


def is_own(error: BaseException) -> bool:
    """Whether an exception that came out of the user's script was raised by a line of evengrad's, though not
    for the user to read.

    A wrapper's line that hands the script's own call on, ``original(*args)``, is none of these: what is
    written in C and raises there has no frame of its own.
    """
    if isinstance(error, EvengradError):
        return isinstance(error, InternalError)
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    if trace is None or not trace.tb_frame.f_code.co_filename.startswith(_OURS):
        return False
    instruction = trace.tb_frame.f_code.co_code[trace.tb_lasti]
    return dis.opname[instruction] != "CALL_FUNCTION_EX"


def inside(trace: TracebackType | None, function: Any) -> TracebackType | None:
    """The traceback from what this function called on."""
    at = trace
    while at is not None and at.tb_frame.f_code is not function.__code__:
        at = at.tb_next
    return trace if at is None else at.tb_next


def versions() -> str:
    """Such as "evengrad 0.1.0, Python 3.11.9, torch 2.13.0"."""
    loaded = [(name, sys.modules.get(name)) for name in _FRAMEWORKS]
    known = [f"{name} {getattr(one, '__version__', '?')}" for name, one in loaded if one]
    return ", ".join([f"evengrad {__version__}", f"Python {platform.python_version()}", *known])


def _written(doing: str, error: BaseException) -> str:
    """Where the traceback lies."""
    text = "".join(traceback.format_exception(error))
    try:
        with tempfile.NamedTemporaryFile(
            "w", prefix="evengrad-failure-", suffix=".txt", delete=False, encoding="utf-8"
        ) as file:
            file.write(f"{versions()}, {platform.platform()}\nfailed {doing}\n\n{text}")
    except OSError as unwritable:
        return f"its traceback, which could not be written ({unwritable})"
    return f"the traceback in {file.name}"
