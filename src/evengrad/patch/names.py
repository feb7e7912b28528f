"""A loop over the names of layers, as short as it can be written."""

from __future__ import annotations

from collections.abc import Sequence

from evengrad.patch.draft import Draft

_WIDTH = 96
_FEW = 4


def loop_over(draft: Draft, layers: Sequence[str]) -> list[str]:
    """The head of a loop over these names."""
    words: list[str] = []
    runs = _runs(layers)
    for prefix, first, last in runs:
        if last - first < _FEW:
            words += [
                draft.quoted(f"{prefix}{n}" if n >= 0 else prefix) for n in range(first, last)
            ]
            continue
        limits = f"{first}, {last}" if first else f"{last}"
        words.append(f"*(f{draft.quoted(f'{prefix}{{n}}')} for n in range({limits}))")
    if len(words) == 1 and words[0].startswith("*"):
        return [f"for name in {words[0].removeprefix('*')}:"]
    short = f"for name in ({', '.join(words)}{',' if len(words) == 1 else ''}):"
    if len(short) < _WIDTH:
        return [short]
    return ["for name in (", *(f"    {word}," for word in words), "):"]


def _runs(layers: Sequence[str]) -> list[tuple[str, int, int]]:
    """Names with numbers that follow one another, as what stands before the number, and from where to where; -1
    to 0 for a name without one.
    """
    runs: list[tuple[str, int, int]] = []
    for layer in layers:
        prefix, _, end = layer.rpartition(".")
        if not end.isdigit() or not prefix:
            runs.append((layer, -1, 0))
        elif runs and runs[-1][0] == f"{prefix}." and runs[-1][2] == int(end):
            runs[-1] = (f"{prefix}.", runs[-1][1], int(end) + 1)
        else:
            runs.append((f"{prefix}.", int(end), int(end) + 1))
    return runs
