"""The adapters that step into a script: one of each framework that it imports."""

from __future__ import annotations

import importlib
from abc import ABC, abstractmethod

from evengrad.adapters.common.sessions import Armed


class Arms(ABC):
    """Arms them in the moment that the script imports the framework, until it is closed.

    Args:
        door: the adapters' module, "script" or "inquiry".

    Attributes:
        open: whether it still does.
    """

    def __init__(self, door: str) -> None:
        self.open = True
        self._door = door
        self._armed: dict[str, Armed] = {}

    @abstractmethod
    def trouble(self, error: Exception) -> object:
        """A fault of our own."""

    def arm(self, framework: str) -> None:
        """Step into a framework that the script has just imported."""
        if self.open and framework not in self._armed:
            try:
                adapter = importlib.import_module(f"evengrad.adapters.{framework}.{self._door}")
                self._armed[framework] = adapter.arm(self)
            except Exception as error:
                self.trouble(error)

    def flush(self) -> None:
        """The script has ended, however it did."""
        for adapter in list(self._armed.values()):
            try:
                adapter.flush()
            except Exception as error:
                self.trouble(error)

    def close(self) -> None:
        """Take every patch off."""
        self.open = False
        for adapter in self._armed.values():
            adapter.disarm()
        self._armed.clear()
