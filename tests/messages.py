"""The catalogue of messages: ``python tests/messages.py`` takes what is new in the source into it and compiles.

``make messages`` calls this. What is new has no translation yet; what has gone is dropped; a text that was
changed is both, so that its old translation is never shown for it. The .mo is committed: gettext reads nothing
else.
"""

from __future__ import annotations

import ast
import io
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from babel.messages.catalog import Catalog
from babel.messages.extract import extract
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po, write_po
from jinja2.ext import babel_extract

from evengrad.cli import COMMANDS
from evengrad.cli.language import entries

SOURCE = Path(__file__).parents[1] / "src" / "evengrad"
FOLDER = SOURCE / "values" / "locale" / "zh_CN" / "LC_MESSAGES"
PO, MO = FOLDER / "evengrad.po", FOLDER / "evengrad.mo"
DATE = datetime(2026, 1, 1, tzinfo=UTC)
RULES = ("rules", "run_rules", "fact_rules")
TITLED = ("remedies", "repairs", "claims")


def messages() -> Iterator[tuple[str, str]]:
    """Where each message stands, and its text."""
    for file in sorted(SOURCE.rglob("*")):
        place = str(file.relative_to(SOURCE))
        if file.suffix == ".py":
            yield from ((place, text) for text in _called(file))
            yield from ((place, text) for text in _explained(file))
            yield from ((place, text) for text in _titled(file))
            if file.parent.name == "cli":
                yield from ((place, text) for text in _helped(file))
        elif file.suffix == ".j2":
            yield from ((place, text) for text in _called(file))


def _called(file: Path) -> Iterator[str]:
    """Literals in ``msg("...")``, of a template in ``_("...")``."""
    method, keywords = (
        ("python", {"msg": None})
        if file.suffix == ".py"
        else (babel_extract, {"_": None, "msg": None})
    )
    if b"msg(" not in file.read_bytes() and file.suffix == ".py":
        return
    with file.open("rb") as opened:
        for _, text, _, _ in extract(
            method, opened, keywords=keywords, options={"trimmed": "true"}
        ):
            yield text[0] if isinstance(text, tuple) else text


def _explained(file: Path) -> Iterator[str]:
    """The paragraphs of a rule's docstring, as ``evengrad explain`` prints them."""
    if file.parent.name in RULES and file.name != "__init__.py":
        text = ast.get_docstring(ast.parse(file.read_text(encoding="utf-8"))) or ""
        yield from (" ".join(paragraph.split()) for paragraph in text.split("\n\n"))


def _titled(file: Path) -> Iterator[str]:
    """Titles of remedies and repairs, which ``evengrad fix --list`` prints, and the texts of claims."""
    if file.parent.name not in TITLED or file.name == "__init__.py":
        return
    text = ast.get_docstring(ast.parse(file.read_text(encoding="utf-8"))) or ""
    title, *parts = (" ".join(part.split()) for part in text.split("\n\n"))
    yield title.rstrip(".")
    if file.parent.name == "claims":
        yield from (part.partition(": ")[2] for part in parts)


def _helped(file: Path) -> Iterator[str]:
    """What ``--help`` prints: docstrings of commands, and of their options."""
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.keyword) and node.arg == "help":
            yield from [node.value.value] if isinstance(node.value, ast.Constant) else []
        elif isinstance(node, ast.FunctionDef) and node.name == file.stem:
            found = [text for lines in entries(ast.get_docstring(node) or "") for text in lines]
            yield from (text for text in found if text and (text[0] != "-" or ": " in text))
    if file.name == "__init__.py":
        yield from COMMANDS.values()


def template() -> Catalog:
    """All that there is to translate."""
    found = Catalog(charset="utf-8", fuzzy=False)
    for place, text in messages():
        found.add(text, locations=[(place, 0)])
    return found


def read() -> Catalog:
    """The catalogue as it stands."""
    with PO.open("rb") as opened:
        return read_po(opened, locale="zh_CN")


def compiled(catalog: Catalog) -> bytes:
    """As gettext reads it."""
    catalog.creation_date = catalog.revision_date = DATE  # else it is the time of the call
    buffer = io.BytesIO()
    write_mo(buffer, catalog)
    return buffer.getvalue()


def update() -> Catalog:
    """Bring both files up to date."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    catalog = (
        read()
        if PO.exists()
        else Catalog(locale="zh_CN", project="evengrad", charset="utf-8", fuzzy=False)
    )
    catalog.update(template(), no_fuzzy_matching=True, update_header_comment=False)
    catalog.obsolete.clear()
    write(catalog)
    return catalog


def write(catalog: Catalog) -> None:
    """Both files, without dates and lines, which would change with every call."""
    buffer = io.BytesIO()
    write_po(buffer, catalog, width=112, include_lineno=False, omit_header=False)
    lines = buffer.getvalue().splitlines(keepends=True)
    PO.write_bytes(
        b"".join(line for line in lines if b"-Date: " not in line and b"Generated-By" not in line)
    )
    MO.write_bytes(compiled(read()))


if __name__ == "__main__":
    missing = [message.id for message in update() if message.id and not message.string]
    print(
        f"{len(missing)} messages have no translation.", *missing[:20], sep="\n  ", file=sys.stderr
    )
    sys.exit(bool(missing))
