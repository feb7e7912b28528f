"""What all commands share: exit statuses, lines on stderr, and what becomes of an error."""

from __future__ import annotations

import errno
import functools
import sys
from collections.abc import Callable
from enum import IntEnum
from typing import Any

import typer
from typer.core import TyperCommand

from evengrad.errors import EvengradError


class ExitStatus(IntEnum):
    """What a command's exit status says. A script's own status is passed on where it is none of these."""

    HEALTHY = 0
    FINDINGS = 1
    CANNOT = 2
    STOPPED = 3
    SCRIPT_FAILED = 4
    INTERRUPTED = 130


class ScriptCommand(TyperCommand):
    """Tells where the script's own options go."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """As usual, with a hint under an unknown option."""
        try:
            return super().parse_args(ctx, args)
        except Exception as error:
            if type(error).__name__ == "NoSuchOption":
                said: str = error.message  # type: ignore[attr-defined]
                error.message = (  # type: ignore[attr-defined]
                    f"{said.rstrip('.')}. Options of the script itself go after --, as in: "
                    f"evengrad {ctx.info_name} train.py -- --epochs 3"
                )
            raise


def add(app: typer.Typer, name: str, function: Callable[..., Any], **options: Any) -> None:
    """Make a function a command. Its EvengradErrors, and failures of our own, end as one line."""

    @functools.wraps(function)
    def command(*args: Any, **kwargs: Any) -> Any:
        try:
            return function(*args, **kwargs)
        except (typer.Exit, typer.Abort):
            raise
        except EvengradError as error:
            say(str(error))
        except Exception as error:
            if isinstance(error, OSError) and error.errno == errno.EPIPE:
                raise  # `evengrad runs | head`
            from evengrad.recording import failure

            say(str(failure.internal(f"in `evengrad {name}`", error)))
        raise typer.Exit(ExitStatus.CANNOT)

    app.command(name, **options)(command)


def say(message: str) -> None:
    """A line of our own, on stderr."""
    print(f"evengrad: {message}", file=sys.stderr)


def own_status(code: object) -> int | None:
    """What a script gave to ``sys.exit``, where that is a status and reads as none of ours."""
    ours = {int(status) for status in ExitStatus}
    return code if isinstance(code, int) and code not in ours else None
