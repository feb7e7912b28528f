"""The files that a command writes at its end: looked at before anything is run, never a reason to lose it."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from pathlib import Path

from evengrad.cli.command import say
from evengrad.errors import EvengradError
from evengrad.values.message import msg


def expect_writable(*files: Path | None) -> None:
    """Raise EvengradError for a file that could not be written; folders that are not there yet can be made."""
    for file in filter(None, files):
        there = file
        while not there.exists() and there.parent != there:
            there = there.parent
        if there.is_dir() if there == file else not there.is_dir():
            kind = msg("is a folder") if there == file else msg("is no folder")
            raise EvengradError(
                msg("Cannot write {file}: {there} {kind}.", file=file, there=there, kind=kind)
            )
        if not os.access(there, os.W_OK):
            raise EvengradError(
                msg("Cannot write {file}: no permission to write {there}.", file=file, there=there)
            )


def write_results(
    page: Path | None, html: Callable[[], str], data: Path | None, json: Callable[[], str]
) -> bool:
    """The HTML report and the JSON, where a path is given. Returns whether all of it was written."""
    written = write(data, json)
    if page is None:
        return written
    if not write(page, html):
        return False
    print(f"report: {page}")
    return written


def write(file: Path | None, content: Callable[[], str]) -> bool:
    """Write what is made now, where a file is given, and its folders. What goes wrong is said, and the result
    goes into a temporary file instead, if it can. Returns whether all is well.
    """
    if file is None:
        return True
    try:
        text = content()
    except Exception as error:
        from evengrad.recording import failure

        say(str(failure.internal(f"while it made {file}", error)))
        return False
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
    except OSError as error:
        say(_why(file, error) + _elsewhere(file, text))
        return False
    return True


def _elsewhere(file: Path, text: str) -> str:
    try:
        handle, name = tempfile.mkstemp(prefix="evengrad-", suffix=file.suffix)
        with os.fdopen(handle, "w", encoding="utf-8") as other:
            other.write(text)
    except OSError:
        return ""
    return msg(" It is in {name}.", name=name)


def _why(file: Path, error: OSError) -> str:
    return msg("Cannot write {file}: {strerror}.", file=file, strerror=error.strerror or error)
