"""The processes of one training find one another, and see what each of them has.

Each writes what it has into the store that torch's processes share, and reads what those have written with
which it trains. Nobody waits for ever: who does not come is named.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import math
import time
from collections.abc import Sequence
from dataclasses import astuple, dataclass, replace
from typing import Any

from torch import distributed

from evengrad.adapters.torch.compat import prefixed, shared_store
from evengrad.adapters.torch.sharding.pieces import HeldPieces, Piece
from evengrad.errors import EvengradError
from evengrad.recording.whereabouts import rank_words
from evengrad.values.run import Tensor

PATIENCE = 30.0
"""Seconds to wait for a process that trains but does not say what it has."""
_POLL = 0.002
_meetings = itertools.count()


class ApartError(EvengradError):
    """The processes of a training do not come together: its message says which, or in what they differ."""


@dataclass(frozen=True, slots=True)
class Agreement:
    """What all of them know after it.

    Attributes:
        ranks: the processes, ascending.
        tensors: of all of them, in the order of the first that has each.
        own: places of this process's among these, in its order.
        copies: by how many processes each of this one's pieces is held, in its order.
        store: for what they have to tell one another later.
    """

    ranks: tuple[int, ...]
    tensors: tuple[Tensor, ...]
    own: tuple[int, ...]
    copies: tuple[int, ...]
    store: Any


class Meeting:
    """One optimizer's processes. Made when its run begins; ``agree`` at its first step."""

    def __init__(self, holding: HeldPieces) -> None:
        self.holding = holding
        self.rank = distributed.get_rank()
        self._store = prefixed(f"evengrad/{next(_meetings)}", shared_store())
        self._bodies: dict[str, list[Piece]] = {}
        cuts = list(dict.fromkeys(piece.cut for piece in holding.pieces))
        rows = [_row(piece, cuts.index(piece.cut)) for piece in holding.pieces]
        body = json.dumps(rows)
        digest = hashlib.sha256(body.encode()).hexdigest()[:16]
        if not self._store.check([digest]):
            self._store.set(digest, body)
        head = {"body": digest, "cuts": cuts, "ranks": sorted(holding.ranks)}
        self._store.set(f"head/{self.rank}", json.dumps(head))

    def decline(self) -> None:
        """Say that this process is not watched after all."""
        self._store.set(f"head/{self.rank}", json.dumps(None))

    def agree(self, patience: float = PATIENCE) -> Agreement:
        """What all have together.

        Args:
            patience: seconds to wait for those that have not written.

        Raises:
            ApartError: one of them does not come, is not watched, or has another tensor of the same name.
        """
        try:
            heads = self._heads(patience)
            self._wait_for_all(sorted(heads), patience)
        except ApartError:
            self.decline()  # who comes later must not wait for this one
            raise
        pieces = {rank: self._pieces(head) for rank, head in sorted(heads.items())}
        _compare(pieces)
        sizes = _sizes(pieces)
        places: dict[tuple[int, str], int] = {}
        tensors: list[Tensor] = []
        counts: dict[tuple[int, str, str], int] = {}
        for own in pieces.values():
            for piece in own:
                key = (piece.stage, piece.tensor.name)
                if key not in places:
                    places[key] = len(tensors)
                    tensors.append(replace(piece.tensor, shape=sizes.get(key, piece.tensor.shape)))
                counts[(*key, piece.cut)] = counts.get((*key, piece.cut), 0) + 1
        mine = [(p.stage, p.tensor.name, p.cut) for p in self.holding.pieces]
        return Agreement(
            tuple(sorted(heads)),
            tuple(_apart(tensors, [stage for stage, _ in places])),
            tuple(places[key[:2]] for key in mine),
            tuple(counts[key] for key in mine),
            self._store,
        )

    def _wait_for_all(self, ranks: Sequence[int], patience: float) -> None:
        """Until each of them knows of all the others: one that gave up has declined."""
        self._store.set(f"ready/{self.rank}", "1")
        until = time.monotonic() + patience
        left = list(ranks)
        while left := [rank for rank in left if not self._store.check([f"ready/{rank}"])]:
            for rank in left:
                if json.loads(self._store.get(f"head/{rank}")) is None:
                    raise ApartError(f"rank {rank} is not watched")
            if time.monotonic() > until:
                raise ApartError(f"{rank_words(left)} did not begin within {patience:g} s")
            time.sleep(_POLL)

    def _heads(self, patience: float) -> dict[int, Any]:
        """What each of them has, by rank: of those with which this one trains, and those do."""
        until = time.monotonic() + patience
        heads: dict[int, Any] = {}
        wanted = set(self.holding.ranks)
        while missing := sorted(wanted - set(heads)):
            for rank in missing:
                if self._store.check([f"head/{rank}"]):
                    head = json.loads(self._store.get(f"head/{rank}"))
                    if head is None:
                        raise ApartError(f"rank {rank} is not watched")
                    heads[rank] = head
                    wanted |= set(head["ranks"])
            if not wanted - set(heads):
                break
            if time.monotonic() > until:
                late = rank_words(sorted(wanted - set(heads)))
                raise ApartError(f"{late} did not begin within {patience:g} s; watched, too?")
            time.sleep(_POLL)
        return heads

    def _pieces(self, head: Any) -> list[Piece]:
        rows = json.loads(self._store.get(head["body"]))
        return [_piece(row, head["cuts"]) for row in rows]


def _row(piece: Piece, cut: int) -> list[Any]:
    return [*astuple(piece.tensor), piece.dtype, cut, piece.stage, piece.flat]


def _piece(row: Sequence[Any], cuts: Sequence[str]) -> Piece:
    name, layer, shape, fan_in, dtype, cut, stage, flat = row
    return Piece(Tensor(name, layer, tuple(shape), fan_in), dtype, cuts[cut], stage, flat)


def _sizes(pieces: dict[int, list[Piece]]) -> dict[tuple[int, str], tuple[int, ...]]:
    """Of tensors that are cut wherever it comes: how many elements the parts have together."""
    parts = {
        (p.stage, p.tensor.name, p.cut): math.prod(p.tensor.shape)
        for own in pieces.values()
        for p in own
        if p.flat
    }
    found: dict[tuple[int, str], int] = {}
    for (stage, name, _), size in parts.items():
        found[stage, name] = found.get((stage, name), 0) + size
    return {key: (size,) for key, size in found.items()}


def _compare(pieces: dict[int, list[Piece]]) -> None:
    known: dict[tuple[int, str], tuple[int, Piece]] = {}
    for rank, own in pieces.items():
        for piece in own:
            key = (piece.stage, piece.tensor.name)
            other, first = known.setdefault(key, (rank, piece))
            this, that = _words(piece), _words(first)
            if this != that and not piece.flat:
                raise ApartError(
                    f"the processes disagree about {piece.tensor.name}: {that} on rank {other}, "
                    f"{this} on rank {rank}"
                )


def _words(piece: Piece) -> str:
    return f"{piece.tensor.shape} {piece.dtype.removeprefix('torch.')}"


def _apart(tensors: Sequence[Tensor], stages: Sequence[int]) -> list[Tensor]:
    """Two stages of a pipeline may have a tensor of the same name."""
    names = [tensor.name for tensor in tensors]
    found = []
    for tensor, stage in zip(tensors, stages, strict=True):
        twice = names.count(tensor.name) > 1
        before = f"stage_{stage}." if twice else ""
        found.append(replace(tensor, name=before + tensor.name, layer=before + tensor.layer))
    return found
