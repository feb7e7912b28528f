"""Repairs of mistakes in a script: one file each, found by being there.

A repair is a module with ``FACT``, the kind of fact that it repairs, and ``repair(source, fact)``, which gives
the ways to write the script without that mistake, the likeliest first: each a line that says what it does, and
a draft. What cannot be written safely is no way. Each way is tried by running the script that it makes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

from evengrad.errors import CannotChangeError
from evengrad.fixing.case import Candidate
from evengrad.values.discovery import expect, modules
from evengrad.values.fact import Fact
from evengrad.values.finding import Cause

_BOM = "\ufeff"
_INVASIVE = 1


@dataclass(frozen=True, slots=True)
class Repair:
    """A repair module, read."""

    name: str
    title: str
    fact: str
    repair: Callable[[Any, Fact], Iterable[tuple[str, Any]]]


@cache
def all_repairs() -> tuple[Repair, ...]:
    """Every repair in this folder, by name. Raises DefinitionError on a file that is none."""
    return tuple(map(_read, modules(__name__)))


def _read(module: ModuleType) -> Repair:
    expect(module.__file__, module, "a repair", FACT=str, repair=Callable)
    title = str(module.__doc__).strip().split("\n", 1)[0]
    return Repair(module.__name__.rpartition(".")[2], title, module.FACT, module.repair)


def candidates(
    source: str, fact: Fact, target: str, before: Candidate | None = None
) -> tuple[Candidate, ...]:
    """The ways to write a script without a mistake.

    Args:
        source: the script.
        fact: the mistake as it was seen in that script.
        target: the script's path; a mistake in another file is not repaired.
        before: the repair that made this source of the user's.

    Returns:
        The repaired scripts, the likeliest first; none where it cannot be written.
    """
    own = [repair for repair in all_repairs() if repair.fact == fact.kind]
    if not own or not _is_in(target, fact):
        return ()
    return tuple(found for repair in own for found in _written(repair, source, fact, before))


def _is_in(target: str, fact: Fact) -> bool:
    """Whether the mistake is in the script itself, or in no line that is known."""
    return fact.where is None or Path(fact.where.file).name == Path(target).name


def _written(
    repair: Repair, source: str, fact: Fact, before: Candidate | None
) -> Iterable[Candidate]:
    from evengrad.fixing.patch.script.source import Source

    mark = _BOM if source.startswith(_BOM) else ""
    seen = {source}
    try:
        for reason, draft in repair.repair(Source(source.removeprefix(_BOM)), fact):
            text = _text(draft)
            if text is not None and mark + text not in seen:
                seen.add(mark + text)
                yield _candidate(repair, reason, mark + text, before)
    except CannotChangeError:
        return


def _text(draft: Any) -> str | None:
    """What a draft makes of the script; None where that is no Python, or it could not be written."""
    try:
        text: str = draft.done()
        compile(text, "script", "exec")
    except (CannotChangeError, SyntaxError, ValueError):
        return None
    return text


def _candidate(repair: Repair, reason: str, source: str, before: Candidate | None) -> Candidate:
    name, invasive = repair.name, _INVASIVE
    if before is not None:
        name, reason = f"{before.remedy} + {name}", f"{before.reason}; {reason}"
        invasive += before.invasiveness
    return Candidate(name, (), Cause.LOSS_HEAD, invasive, reason, source=source)
