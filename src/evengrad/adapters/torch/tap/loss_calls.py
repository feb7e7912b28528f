"""The loss calls of a training's first steps, heard for the mistakes that they show."""

from __future__ import annotations

from typing import Any

from evengrad.adapters.torch.compat import anything_compiled
from evengrad.adapters.torch.losses.listener import LossListener
from evengrad.adapters.torch.tap.hearing import ThreadMode, hearing
from evengrad.recording.session import Watching

STEPS = 5
"""How many steps of an optimizer are heard: a mistake of the script is there from the first on (a choice)."""

_listener = LossListener(
    by_value=True
)  # one for all optimizers: what it hears is of the one that steps next


class LossCalls:
    """Hears the losses of one optimizer's first steps; changes no value.

    Args:
        deaf: something of it is compiled: a function mode would have it compiled once more.
    """

    def __init__(self, deaf: bool) -> None:
        self._left = 0 if deaf else STEPS
        self._hearing: ThreadMode | None = None

    def listen(self) -> None:
        """From now on, until the next step."""
        if self._left and self._hearing is None and not anything_compiled():
            self._hearing = hearing()
            self._hearing.add_losses(self)

    def stop(self) -> None:
        """Hear no more till ``listen``."""
        if self._hearing is not None:
            self._hearing.drop(self)
            self._hearing = None

    def silence(self) -> None:
        """Never again."""
        self._left = 0
        self.stop()

    def before(self, function: str, args: Any, kwargs: Any) -> None:
        """A torch call that is about to be made."""
        _listener.before(function, args, kwargs)

    def after(self, function: str, args: Any, kwargs: Any, result: Any) -> None:
        """It was made."""
        _listener.after(function, args, kwargs, result)

    def tell(self, watching: Watching, optimizer: Any) -> None:
        """The optimizer steps: what was heard is of its run."""
        for fact in _listener.take(type(optimizer).__name__):
            watching.fact(fact)

    def stepped(self) -> None:
        """A step is over."""
        self._left = max(self._left - 1, 0)
        self.stop()
        self.listen()
