"""Changes written into the user's script: formatting and comments stay, and nothing of evengrad is in it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import libcst as cst

from evengrad.errors import CannotChangeError
from evengrad.fixing.patch.advice import advise
from evengrad.fixing.patch.script.diff import unified
from evengrad.fixing.patch.script.draft import Draft, Manual
from evengrad.fixing.patch.script.source import Source
from evengrad.fixing.patch.script.wrap import wrapped
from evengrad.fixing.patch.writers import WRITERS, by_hand
from evengrad.values.change import (
    AddNormalisation,
    Change,
    Decay,
    Initialise,
    LossScale,
    Pretrained,
    Skip,
    UnitVariance,
    Warmup,
)

Frontend = Literal["keras", "torch"]
# names of a torch.nn.Sequential are its indices: what inserts comes before what names;
# LossScale is there before a clip; Pretrained and Warmup read the rate, and Warmup the schedule of Decay
_ORDER = {AddNormalisation: 0, Skip: 1, LossScale: 2, Decay: 5, Pretrained: 5, Warmup: 6}
_OTHERS = 3
_BOM = "\ufeff"


@dataclass(frozen=True, slots=True)
class Patch:
    """A script before and after. manual: for each change that could not be written safely, the code to add
    and its place; empty where all were written.
    """

    before: str
    after: str
    manual: tuple[str, ...]

    def diff(self, name: str) -> str:
        """A unified diff with the headers ``a/NAME`` and ``b/NAME``; nothing where nothing changed."""
        return unified(self.before, self.after, name)


def write(
    source: str, changes: Sequence[Change], frontend: Frontend, name: str = "train.py"
) -> Patch:
    """The script with the changes in it. name: what the messages call the script.

    Raises CannotChangeError where the source is not Python.
    """
    mark = _BOM if source.startswith(_BOM) else ""
    text, manual = source.removeprefix(_BOM), list[str]()
    renamed: dict[str, str] = {}
    for given in sorted(changes, key=lambda c: _ORDER.get(type(c), _OTHERS)):
        change = _renamed(given, renamed)
        parsed = _parse(text, name)
        draft = Draft(parsed)
        try:
            WRITERS.get((frontend, type(change)), by_hand)(draft, change)
            text = _compiled(draft)
            renamed = _then(renamed, draft.renamed)
        except Manual as left:
            draft.left = [left]
        manual += [advise(parsed, change, frontend, left, name, source) for left in draft.left]
    return Patch(source, mark + text, tuple(manual))


def _then(before: dict[str, str], after: dict[str, str]) -> dict[str, str]:
    """First names to last ones."""
    return after | {first: after.get(name, name) for first, name in before.items()}


def _renamed(change: Change, names: dict[str, str]) -> Change:
    """The change with the names that its layers have by now."""
    if not isinstance(change, Initialise | AddNormalisation | Skip | UnitVariance):
        return change
    return replace(change, layers=tuple(names.get(layer, layer) for layer in change.layers))


def _parse(text: str, name: str) -> Source:
    try:
        return Source(text)
    except cst.ParserSyntaxError as error:
        raise CannotChangeError(
            f"Expected {name} to be Python; {error.message} in line {error.raw_line}. Make it run first."
        ) from error


def _compiled(draft: Draft) -> str:
    text = draft.done()
    try:
        compile(text, "<patch>", "exec")
        text = wrapped(text, draft.source.text)
        compile(text, "<patch>", "exec")
    except (SyntaxError, ValueError) as error:
        raise Manual() from error
    return text
