"""One optimizer's tensors over all processes: figures of the pieces become those of the whole."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from evengrad.adapters.torch.sharding.meeting import Agreement
from evengrad.adapters.torch.sharding.rounds import RoundKind, Rounds
from evengrad.values.run import Floats, Tensor

_BITS = 48  # of a float64 that count exactly, with some to spare


@dataclass(frozen=True, slots=True)
class WholeStep:
    """A step as all processes see it.

    Attributes:
        norms: of the whole gradients, (tensors,).
        loss: mean over the processes that have one; NaN where none has.
        skipped: of how many processes the loss scaler skips it.
    """

    norms: Floats
    loss: float
    skipped: int


class Shards:
    """Of one optimizer; made by all of its processes at the same step.

    Attributes:
        tensors: of all processes.
        own: places of this one's among them, (own,).
        copies: how many processes hold each of this one's pieces, (own,).
        rounds: how they add up.
    """

    def __init__(self, agreement: Agreement) -> None:
        self.tensors: tuple[Tensor, ...] = agreement.tensors
        self.own = np.array(agreement.own, dtype=np.int64)
        self.copies = np.array(agreement.copies, dtype=np.float64)
        self.rounds = Rounds(agreement)
        self._weights = np.zeros(len(self.tensors))
        self._sizes = np.array([max(math.prod(t.shape), 1) for t in self.tensors], dtype=float)

    @property
    def ranks(self) -> tuple[int, ...]:
        """The processes."""
        return self.rounds.ranks

    def step(self, norms: Floats, losses: Sequence[float], skipped: bool) -> WholeStep:
        """The one round of a step.

        Args:
            norms: of this process's pieces of the gradients, (own,).
            losses: what it has differentiated.
            skipped: whether its loss scaler skips this step.
        """
        flags = [sum(losses), float(bool(losses)), float(skipped)]
        found = self.rounds.total(RoundKind.STEP, self._squares(norms), flags)
        total, count, out = found[len(self.tensors) :][:3]
        loss = total / count if count else math.nan
        return WholeStep(np.sqrt(found[: len(self.tensors)]), float(loss), round(out))

    def exact(self, norms: Floats) -> Floats:
        """Norms of the whole, from such as were summed in float64."""
        return np.sqrt(self._sum(RoundKind.EXACT, self._squares(norms)))

    def counts(self, own: Floats) -> Floats:
        """Of elements, (tensors,): each once, however many processes hold it."""
        return np.rint(self._sum(RoundKind.COUNTS, self._spread(own / self.copies)))

    def who(self, gradient: bool, loss: bool) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Which processes say so of their gradients, and of their losses."""
        slots = -(-self.rounds.count // _BITS)
        room = len(self.tensors) + 6
        if 2 * slots > room:
            return (), ()
        bits = np.zeros(room)
        slot, bit = divmod(self.rounds.place, _BITS)
        bits[slot] = gradient * 2.0**bit
        bits[slots + slot] = loss * 2.0**bit
        width = len(self.tensors)
        found = self.rounds.total(RoundKind.WHO, bits[:width], bits[width:].tolist())
        return self._named(found[:slots]), self._named(found[slots : 2 * slots])

    def any(self, own: Sequence[bool]) -> Floats:
        """In how many processes a tensor is so, (tensors,)."""
        return np.rint(self._sum(RoundKind.UPDATE, self._spread(np.array(own, dtype=np.float64))))

    def weights(self, rms: Floats, sizes: Sequence[int]) -> Floats:
        """Root mean squares of the whole weights that this process has a piece of, (own,), from the pieces'."""
        self._weights = self._mean_square(RoundKind.WEIGHTS, rms, sizes)
        return self._weights[self.own]

    def reach(self, own: Floats) -> Floats:
        """See ``guard.reach``, (tensors,): the same in all, from this process's, (own,)."""
        return self.rounds.most(RoundKind.REACH, self._spread(own))

    def rows(self, rows: Floats, norms: Floats, sizes: Sequence[int]) -> Floats:
        """An observed step's figures of the whole, (tensors, 5).

        Args:
            rows: of this process's pieces, (own, 5).
            norms: root mean squares of the whole gradients, (tensors,).
            sizes: of the pieces.
        """
        present = np.isfinite(rows[:, 2])
        largest = np.nan_to_num(rows[:, 1], nan=np.inf) + 1.0
        largest = self.rounds.most(RoundKind.LARGEST, self._spread(np.where(present, largest, 0.0)))
        held = np.asarray(sizes, dtype=np.float64) / self.copies
        zeros = self._sum(RoundKind.ZEROS, self._spread(np.nan_to_num(rows[:, 2]) * held))
        moved = self._mean_square(RoundKind.MOVED, rows[:, 4], sizes)
        columns = [norms, largest - 1.0, zeros / self._sizes, self._weights, moved]
        found = np.stack(columns, axis=1)
        found[np.ix_(largest == 0.0, [0, 1, 2, 4])] = np.nan  # no gradient
        return found

    def _mean_square(self, kind: RoundKind, rms: Floats, sizes: Sequence[int]) -> Floats:
        own = np.where(np.isnan(rms), 0.0, rms) ** 2 * np.asarray(sizes, dtype=np.float64)
        return np.sqrt(self._sum(kind, self._spread(own / self.copies)) / self._sizes)

    def _squares(self, norms: Floats) -> Floats:
        return self._spread(norms**2 / self.copies)

    def _spread(self, own: Floats) -> Floats:
        found = np.zeros(len(self.tensors))
        np.add.at(found, self.own, own)
        return found

    def _sum(self, kind: RoundKind, values: Floats) -> Floats:
        return self.rounds.total(kind, values)[: len(self.tensors)]

    def _named(self, bits: Floats) -> tuple[int, ...]:
        if not np.isfinite(bits).all():
            return ()
        return tuple(
            rank for i, rank in enumerate(self.ranks) if int(bits[i // _BITS]) >> (i % _BITS) & 1
        )
