"""What all commands share: exit statuses, lines on stderr, and what becomes of an error."""

from __future__ import annotations

import errno
import functools
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import IntEnum
from traceback import walk_tb
from typing import Any

import typer

from evengrad.cli.language import SpokenCommand, with_language
from evengrad.errors import EvengradError
from evengrad.values.message import msg, translated


class ExitStatus(IntEnum):
    """What a command's exit status says. A script's own status is passed on where it is none of these."""

    HEALTHY = 0
    FINDINGS = 1
    CANNOT = 2
    STOPPED = 3
    SCRIPT_FAILED = 4
    INTERRUPTED = 130


class ScriptCommand(SpokenCommand):
    """Tells where the script's own options go."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """As usual, with a hint under an unknown option."""
        try:
            return super().parse_args(ctx, args)
        except Exception as error:
            if type(error).__name__ == "NoSuchOption":
                said: str = error.message  # type: ignore[attr-defined]
                error.message = translated(  # type: ignore[attr-defined]
                    msg(
                        "{said}. Options of the script itself go after --, as in: "
                        "evengrad {info_name} train.py -- --epochs 3",
                        said=said.rstrip("."),
                        info_name=ctx.info_name,
                    )
                )
            raise


def say_missing(extra: str | None) -> None:
    """How to install what a script has imported in vain; nothing without an extra."""
    if extra is not None:
        say(msg("To install what it misses: pip install 'evengrad[{missing}]'", missing=extra))


def add(app: typer.Typer, name: str, function: Callable[..., Any], **options: Any) -> None:
    """Make a function a command, whose errors are said in one line."""

    @functools.wraps(function)
    def command(*args: Any, **kwargs: Any) -> Any:
        with said_in_one_line(name):
            return function(*args, **kwargs)

    app.command(name, **({"cls": SpokenCommand} | options))(with_language(command))


@contextmanager
def said_in_one_line(name: str) -> Iterator[None]:
    """EvengradErrors, packages that cannot be imported and failures of our own end command ``name`` so."""
    try:
        yield
    except (typer.Exit, typer.Abort):
        raise
    except EvengradError as error:
        say(error.args[0] if error.args else "")
        raise typer.Exit(ExitStatus.CANNOT) from None
    except Exception as error:
        if isinstance(error, OSError) and error.errno == errno.EPIPE:
            raise  # `evengrad runs | head`
        package = _unimportable(error)
        if package is not None:
            what = " ".join(f"{type(error).__name__}: {error}".split())
            say(
                msg(
                    "`evengrad {name}` needs {package}, which cannot be imported in this environment ({what}). "
                    "Install it anew: {executable} -m pip install --force-reinstall {package}",
                    name=name,
                    package=package,
                    what=what,
                    executable=sys.executable,
                )
            )
        else:
            from evengrad.recording import failure

            say(str(failure.internal(f"in `evengrad {name}`", error)))
        raise typer.Exit(ExitStatus.CANNOT) from None


def _unimportable(error: Exception) -> str | None:
    """The package whose import failed; None where that was a module of our own, or something else failed."""
    if not isinstance(error, ImportError):
        return None
    frames = [frame.f_globals.get("__name__", "") for frame, _ in walk_tb(error.__traceback__)]
    ours = max((n for n, name in enumerate(frames) if _top(name) == "evengrad"), default=-1)
    packages = [_top(name) for name in [*frames[ours + 1 :], error.name or ""]]
    found = next((one for one in packages if one and one != "importlib"), "evengrad")
    return None if found == "evengrad" else found


def _top(module: str) -> str:
    return module.partition(".")[0]


def say(message: str) -> None:
    """A line of our own, on stderr, in the language in use."""
    print(f"evengrad: {translated(message)}", file=sys.stderr)


def own_status(code: object) -> int | None:
    """What a script gave to ``sys.exit``, where that is a status and reads as none of ours."""
    ours = {int(status) for status in ExitStatus}
    return code if isinstance(code, int) and code not in ours else None
