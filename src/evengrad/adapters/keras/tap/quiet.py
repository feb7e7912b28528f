"""What is ours inside of a call of the script's: no error of it ends the training."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from evengrad.recording import failure
from evengrad.recording.guard import GuardStopError


class Unharmed:
    """Calls functions of ours until one raises; that is told once, and from then on none is called.

    Args:
        trouble: is told.
    """

    def __init__(self, trouble: Callable[[Exception], object] = failure.tell) -> None:
        self._off, self._trouble = False, trouble

    def __call__(self, function: Callable[..., Any], *args: Any, otherwise: Any = None) -> Any:
        """What the function returns; ``otherwise`` where it is not called or raises.

        Raises:
            GuardStopError: as the function does; the guard means it.
        """
        if self._off:
            return otherwise
        try:
            return function(*args)
        except GuardStopError:
            raise
        except Exception as error:
            self._off = True
            self._trouble(error)
            return otherwise
