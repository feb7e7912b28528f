"""What the adapters report to in an inquiry, in the script's own process and in those that it starts."""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, NoReturn

from evengrad.errors import EvengradError
from evengrad.recording import failure
from evengrad.values.fact import Fact
from evengrad.verbs.arms import Arms
from evengrad.verbs.host import armed

FOUND = "fact.json"
_POLL = 0.2  # seconds


class Inquiry(Arms):
    """Leaves what is found in a folder (adapters.InquirySession)."""

    def __init__(self, folder: Path, step: int) -> None:
        super().__init__("inquiry")
        self.step = step
        self._folder = folder

    def born(self, fact: Fact) -> NoReturn:
        """Found. What the script would still do at its end, such as saving, is not wanted."""
        unfinished = self._folder / f"{FOUND}.{os.getpid()}"
        unfinished.write_text(json.dumps(fact.to_values()))
        if not (self._folder / FOUND).exists():
            unfinished.replace(self._folder / FOUND)
        os._exit(0)

    def trouble(self, error: Exception) -> NoReturn:
        """Our own fault: nothing is found."""
        (self._folder / "trouble.txt").write_text(str(failure.internal("in an inquiry", error)))
        os._exit(1)

    def fail(self, error: EvengradError) -> NoReturn:
        """A framework that no adapter reads."""
        self.trouble(error)

    def close(self) -> None:
        """The process ends; there is nothing to put back."""
        self.open = False


@dataclass(frozen=True)
class InquiryTask:
    """A process that the script starts is inquired as the script."""

    folder: Path
    step: int
    until_told: ClassVar[bool] = False

    def of(self, _script: str, /) -> InquiryTask:
        """See Task."""
        return self

    def __call__(self, number: int, body: Callable[[], None], tell: Callable[[Any], None]) -> None:
        del number, tell  # whoever finds it first says so, by the file
        threading.Thread(target=self._end_when_found, daemon=True).start()
        session = Inquiry(self.folder, self.step)
        with armed(session):
            try:
                body()
            finally:
                session.flush()

    def _end_when_found(self) -> None:
        """Or when nobody waits for it any more."""
        while self.folder.exists() and not (self.folder / FOUND).exists():
            time.sleep(_POLL)
        os._exit(0)
