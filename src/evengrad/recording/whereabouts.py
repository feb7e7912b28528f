"""In which of the processes of one training a step went wrong."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Whereabouts:
    """Where a step went wrong first, of several processes.

    Attributes:
        ranks: of those; empty where it is in all of them alike, or there is one process.
        processes: how many there are.
    """

    ranks: tuple[int, ...] = ()
    processes: int = 1

    def __str__(self) -> str:
        if not self.ranks:
            return ""
        return f"it began on {rank_words(self.ranks)} of {self.processes}"


def whereabouts(ranks: Sequence[int], *signs: Sequence[int]) -> Whereabouts:
    """From signs that say less and less: the first one that some of the processes have and others have not.

    Args:
        ranks: all of them.
        signs: the ranks that have each.
    """
    for sign in signs:
        if 0 < len(sign) < len(ranks):
            return Whereabouts(tuple(sign), len(ranks))
    return Whereabouts((), len(ranks))


def rank_words(ranks: Sequence[int]) -> str:
    """Such as "rank 1", or "ranks 1, 3"."""
    return f"rank {ranks[0]}" if len(ranks) == 1 else f"ranks {', '.join(map(str, ranks))}"
