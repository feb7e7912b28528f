"""A loop over the names of layers, as short as it can be written."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from evengrad.fixing.patch.script.draft import SourceDraft

_WIDTH = 96
_FEW = 4


def listed(draft: SourceDraft, layers: Sequence[str]) -> str:
    """A list of these names."""
    words = _words(draft, layers)
    if len(words) == 1 and words[0].startswith("*"):
        return f"[{words[0].removeprefix('*(').removesuffix(')')}]"
    return f"[{', '.join(words)}]"


def loop_over(draft: SourceDraft, layers: Sequence[str]) -> list[str]:
    """The head of a loop over these names, in any order."""
    words = _words(draft, layers)
    if len(words) == 1 and words[0].startswith("*"):
        return [f"for name in {words[0].removeprefix('*')}:"]
    short = f"for name in ({', '.join(words)}{',' if len(words) == 1 else ''}):"
    if len(short) < _WIDTH:
        return [short]
    return ["for name in (", *(f"    {word}," for word in words), "):"]


def _words(draft: SourceDraft, layers: Sequence[str]) -> list[str]:
    """The names as elements of a list; many that differ by a number are one, that unpacks a generator."""
    words: list[str] = []
    for run in _runs(layers):
        if run.last - run.first < _FEW:
            words += [draft.quoted(run.name(n)) for n in range(run.first, run.last)]
            continue
        limits = f"{run.first}, {run.last}" if run.first else f"{run.last}"
        words.append(f"*(f{draft.quoted(run.name('{n}'))} for n in range({limits}))")
    return words


@dataclass(frozen=True, slots=True)
class _Numbered:
    """Names that differ by a number: what stands before and behind it, from where and to where. A name
    without one has itself and nothing, -1 and 0.
    """

    before: str
    behind: str
    first: int
    last: int

    def name(self, number: object) -> str:
        return self.before if self.first < 0 else f"{self.before}{number}{self.behind}"


def _runs(layers: Sequence[str]) -> list[_Numbered]:
    """Numbers that follow one another in the same surroundings are one run."""
    runs: list[_Numbered] = []
    for layer in layers:
        found = re.fullmatch(r"(.+\.)(\d+)((?:\.[^.]*[^.\d][^.]*)*)", layer)
        if found is None:
            runs.append(_Numbered(layer, "", -1, 0))
            continue
        before, number, behind = found[1], int(found[2]), found[3]
        same = [r for r in runs if (r.before, r.behind, r.last) == (before, behind, number)]
        if same:
            runs[runs.index(same[0])] = replace(same[0], last=number + 1)
        else:
            runs.append(_Numbered(before, behind, number, number + 1))
    return runs
