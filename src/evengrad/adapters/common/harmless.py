"""What stands in place of a function of somebody else's: an error of its own ends nothing."""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable
from typing import Any

from evengrad.errors import EvengradError, InternalError


class _OneCall:
    """One call. made: whether the original has returned, and found what; raised: what it has raised."""

    def __init__(self) -> None:
        self.made, self.found = False, None
        self.raised: BaseException | None = None

    def take(self, within: _OneCall) -> None:
        """A call that this one has made of the same function, by another way than the original."""
        self.made, self.found = self.made or within.made, within.found
        self.raised = self.raised or within.raised


class _OpenCalls(threading.local):
    """Those that have not returned, the innermost last, in this thread."""

    def __init__(self) -> None:
        self.open: list[_OneCall] = []


def harmless(
    original: Any, make: Callable[[Any], Any], trouble: Callable[[Exception], object]
) -> Any:
    """``make(original)``, whose own errors end nothing: the first one is told, and from then on the original
    alone is called. What the original raises is its caller's, and so is an EvengradError.

    Args:
        original: a function.
        make: as for ``Patches.wrap``.
        trouble: is told of an error.
    """
    calls, trusted = _OpenCalls(), [True]

    @functools.wraps(original)
    def noted(*args: Any, **kwargs: Any) -> Any:
        now = calls.open[-1] if calls.open else _OneCall()
        try:
            found = original(*args, **kwargs)
        except BaseException as error:
            now.raised = error
            raise
        now.made, now.found = True, found
        return found

    own = make(noted)

    @functools.wraps(original)
    def function(*args: Any, **kwargs: Any) -> Any:
        if not trusted:
            return original(*args, **kwargs)
        now = _OneCall()
        calls.open.append(now)
        try:
            return own(*args, **kwargs)
        except Exception as error:
            if now.raised is not None or _is_callers(error):
                raise
            trusted.clear()
            trouble(error)
        finally:
            calls.open.pop()
            if calls.open and not calls.open[-1].made:
                calls.open[-1].take(now)
        return now.found if now.made else original(*args, **kwargs)

    return function


def _is_callers(error: Exception) -> bool:
    return isinstance(error, EvengradError) and not isinstance(error, InternalError)
