"""The process of an inquiry: ``python -m evengrad.verbs.inquiry_worker FOLDER`` reads inquiry.json there and
leaves fact.json, if it finds one.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any, NoReturn

from evengrad.errors import EvengradError
from evengrad.recording import failure
from evengrad.values.fact import Fact
from evengrad.verbs.arms import Arms
from evengrad.verbs.children import end_with_parent
from evengrad.verbs.host import armed, as_main, execute
from evengrad.verbs.inquire import put_back


class _Inquiry(Arms):
    """What the adapters report to (adapters.InquirySession)."""

    def __init__(self, folder: Path, step: int) -> None:
        super().__init__("inquiry")
        self.step = step
        self._folder = folder

    def born(self, fact: Fact) -> NoReturn:
        """Found. What the script would still do at its end, such as saving, is not wanted."""
        unfinished = self._folder / "fact.json.part"
        unfinished.write_text(json.dumps(fact.to_values()))
        unfinished.replace(self._folder / "fact.json")
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


def main(folder: Path) -> None:
    """Perform the inquiry in this folder."""
    end_with_parent()
    job: dict[str, Any] = json.loads((folder / "inquiry.json").read_text())
    session = _Inquiry(folder, job["step"])
    put_back(job["noise"])
    with as_main(job["target"], job["arguments"], job["module"]), armed(session):
        try:
            execute(job["target"], job["module"], job["source"], job["function"])
        finally:
            session.flush()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
