"""Two texts as a unified diff that ``patch -p1`` and ``git apply`` take."""

from __future__ import annotations

import difflib
import re

_NO_NEWLINE = "\\ No newline at end of file\n"


def unified(before: str, after: str, name: str) -> str:
    """Nothing where the texts are equal. Lines end at ``\\n`` only: a ``\\r`` before it is content."""
    name = name.replace("\\", "/").lstrip("/")
    tab = "\t" if " " in name else ""
    lines = difflib.unified_diff(
        _lines(before), _lines(after), f"a/{name}{tab}", f"b/{name}{tab}", lineterm="\n"
    )
    return "".join(line if line.endswith("\n") else f"{line}\n{_NO_NEWLINE}" for line in lines)


def _lines(text: str) -> list[str]:
    return re.findall(r"[^\n]*\n|[^\n]+", text)
