"""The loops: each a small script that trains well, whose header says what it needs and what makes it sick."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import re
from dataclasses import dataclass
from pathlib import Path

SCRIPTS = Path(__file__).with_name("scripts")
_SICK = re.compile(r'^# sick: "(.*)" -> "(.*)"\n', re.M)
_HEADER = re.compile(r"^# (\w+): (.*)\n", re.M)


@dataclass(frozen=True)
class Loop:
    """A script. command: what stands in front of its name, such as torchrun; backend: of Keras."""

    name: str
    title: str
    needs: tuple[str, ...]
    healthy: str
    sick: str
    command: tuple[str, ...] = ()
    backend: str | None = None

    @property
    def missing(self) -> list[str]:
        """Packages that it needs and this Python has not."""
        return [name for name in self.needs if importlib.util.find_spec(name) is None]

    @property
    def versions(self) -> str:
        """Of what it needs."""
        sold_as = importlib.metadata.packages_distributions()
        return ", ".join(
            f"{name} {importlib.metadata.version(sold_as[name][0])}" for name in self.needs
        )


def loops(only: str = "") -> list[Loop]:
    """Those whose name has this in it."""
    found = [_read(path) for path in sorted(SCRIPTS.glob("*.py"))]
    return [loop for loop in found if only in loop.name]


def _read(path: Path) -> Loop:
    text = path.read_text()
    header = dict(_HEADER.findall(text))
    match = _SICK.search(text)
    assert match is not None, f"{path} does not say what makes it sick"
    body = text.replace(match[0], "")
    assert match[1] in body, f"{path} has no {match[1]!r}"
    title = text[3 : text.index('"""', 3)].rstrip(".")
    return Loop(
        path.stem,
        title,
        tuple(header["needs"].split()),
        body,
        body.replace(match[1], match[2]),
        tuple(header.get("command", "").split()),
        header.get("backend"),
    )
