"""The process of an inquiry: ``python -m evengrad.verbs.inquiry_worker FOLDER`` reads inquiry.json there and
leaves fact.json, if it finds one.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import sys
import threading
import time
from pathlib import Path
from typing import Any

from evengrad.verbs.children import end_with_parent
from evengrad.verbs.follow import following
from evengrad.verbs.host import armed, as_main, execute
from evengrad.verbs.inquire import put_back
from evengrad.verbs.inquiry_session import FOUND, Inquiry, InquiryTask
from evengrad.verbs.launch import typed

_POLL = 0.1  # seconds


def _end_when(found: Path) -> None:
    """A process that the script has started found it: the others wait for that one in vain."""
    while not found.exists():
        time.sleep(_POLL)
    for process in multiprocessing.active_children():
        process.terminate()
    os._exit(0)


def main(folder: Path) -> None:
    """Perform the inquiry in this folder."""
    end_with_parent()
    job: dict[str, Any] = json.loads((folder / "inquiry.json").read_text())
    session = Inquiry(folder, job["step"])
    put_back(job["noise"])
    threading.Thread(target=_end_when, args=(folder / FOUND,), daemon=True).start()
    target, arguments, module = typed(job["target"], job["arguments"], job["module"])
    with (
        as_main(target, arguments, module),
        armed(session),
        following(InquiryTask(folder, job["step"]), session.close),
    ):
        try:
            execute(target, module, job["source"], job["function"])
        finally:
            session.flush()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
