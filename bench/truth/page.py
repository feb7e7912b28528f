"""docs/truth.md: each part of it is written by the bench that measured it."""

from __future__ import annotations

import re
from pathlib import Path

PAGE = Path(__file__).parents[2] / "docs" / "truth.md"


def section(name: str, text: str) -> None:
    """Put a text between the page's marks of that name, which must be there already."""
    page = PAGE.read_text(encoding="utf-8")
    begin, end = f"<!-- {name} -->\n", f"<!-- end of {name} -->\n"
    if begin not in page or end not in page:
        raise SystemExit(f"{PAGE} has no marks {begin.strip()} and {end.strip()}")
    pattern = re.escape(begin) + ".*?" + re.escape(end)
    PAGE.write_text(
        re.sub(pattern, lambda _: f"{begin}{text}{end}", page, flags=re.DOTALL), encoding="utf-8"
    )
