"""Rounds in which every process adds up its own numbers with all others', one all-reduce each.

All rounds are of the same length, so that a process that must leave can do so in whatever round the others are
in: they see it in that round, and nobody waits for one that has gone.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from datetime import timedelta
from enum import IntEnum
from typing import Any

import numpy as np
import torch
from torch import distributed

from evengrad.adapters.torch.compat import all_reduce, gloo_group
from evengrad.adapters.torch.sharding.meeting import Agreement, ApartError
from evengrad.recording.whereabouts import rank_words
from evengrad.values.run import Floats

FLAGS = 8
"""Numbers of a round beside those of the tensors."""
_FREE = FLAGS - 2  # the last two: how many leave, and what round it is
_ANSWER = 3.0  # seconds that a living process has to say so
_CONNECT, _REDUCE = timedelta(minutes=1), timedelta(minutes=30)


class RoundKind(IntEnum):
    """What a round is about; all processes must be in the same one."""

    STEP = 1
    EXACT = 2
    WHO = 3
    COUNTS = 4
    UPDATE = 5
    WEIGHTS = 6
    REACH = 7
    ZEROS = 8
    MOVED = 9
    LARGEST = 10


class Rounds:
    """The rounds of one optimizer. open: whether more can come."""

    def __init__(self, agreement: Agreement) -> None:
        self.ranks = agreement.ranks
        self.rank = distributed.get_rank()
        self.place = self.ranks.index(self.rank)
        self.count = len(self.ranks)
        self.width = len(agreement.tensors)
        self.open = True
        self._store = agreement.store
        self._number = 0
        self._group = gloo_group(self._store, self.place, self.count, _CONNECT)

    def total(self, kind: RoundKind, values: Floats, flags: Sequence[float] = ()) -> Floats:
        """The sum over all processes. Raises ApartError where one leaves, or all must.

        Args:
            kind: of the round.
            values: one a tensor, (width,).
            flags: at most six more.

        Returns:
            (width + 6,): the values, then the flags.
        """
        return self._round(kind, values, flags, most=False)

    def most(self, kind: RoundKind, values: Floats) -> Floats:
        """The largest over all processes, (width,), each of them 0 or more."""
        return self._round(kind, values, (), most=True)[: self.width]

    def leave(self) -> None:
        """Go on unwatched; all others learn it in the round that they are in."""
        if self.open:
            self.open = False
            packed = torch.zeros(self.width + FLAGS, dtype=torch.float64)
            packed[-2] = 1.0
            self._reduce(packed, most=False)

    def _round(
        self, kind: RoundKind, values: Floats, flags: Sequence[float], *, most: bool
    ) -> Floats:
        if not self.open:
            raise ApartError("another process of this training is no longer watched")
        packed = np.zeros(self.width + FLAGS)
        packed[: self.width] = values
        packed[self.width : self.width + len(flags)] = flags
        packed[-1] = kind
        try:
            self._reduce(torch.from_numpy(packed), most=most)
        except BaseException:
            self.open = False
            raise
        together = 1 if most else self.count
        if packed[-2] > 0 or packed[-1] != kind * together:
            self.open = False
            raise ApartError("another process of this training is no longer watched")
        return packed[: self.width + _FREE]

    def _reduce(self, packed: Any, *, most: bool) -> None:
        """In place; says who is waited for where that takes long, and who is gone where it fails."""
        self._number += 1
        work = all_reduce(self._group, packed, most, _REDUCE)
        try:
            work.wait()
        except RuntimeError as error:
            raise ApartError(f"{self._gone()} ({_first_line(error)})") from error

    def _gone(self) -> str:
        """Which of the others do not answer."""
        try:
            self._store.set(f"here/{self._number}/{self.rank}", "1")
            until = time.monotonic() + _ANSWER
            left = [rank for rank in self.ranks if rank != self.rank]
            while left and time.monotonic() < until:
                left = [r for r in left if not self._store.check([f"here/{self._number}/{r}"])]
                time.sleep(0.05)
        except RuntimeError:
            return f"rank {self.rank} is alone: the store of this training is gone"
        return f"no answer from {rank_words(left)}" if left else "the connection broke"


def _first_line(error: BaseException) -> str:
    return str(error).strip().splitlines()[0][:160]
