"""All tensors' figures by one launch, in Triton, which every build of torch for CUDA brings.

Each program reads a chunk of one tensor and leaves its partial figures, which a second launch brings
together in a fixed order, so that they are the same bits each time. Accumulated in float64.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import torch
import triton
import triton.language as tl

_CHUNK, _BLOCK, _ROWS = 1 << 15, 1 << 10, 1 << 6
_TYPES = {
    torch.float32: tl.float32,
    torch.float16: tl.float16,
    torch.bfloat16: tl.bfloat16,
    torch.float64: tl.float64,
}
TYPES = tuple(_TYPES)
"""Of tensors that it reads."""


@triton.jit
def _partial(  # type: ignore[no-untyped-def]
    pointers,
    sizes,
    owners,
    starts,
    found,
    TYPE: tl.constexpr,
    CHUNK: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """A chunk's sum, sum of squares, largest value, and counts of what is not zero and not finite."""
    program = tl.program_id(0)
    owner = tl.load(owners + program)
    start = tl.load(starts + program)
    size = tl.load(sizes + owner)
    values = tl.load(pointers + owner).to(tl.pointer_type(TYPE))
    total = tl.zeros([BLOCK], tl.float64)
    squares = tl.zeros([BLOCK], tl.float64)
    top = tl.zeros([BLOCK], tl.float64)
    others = tl.zeros([BLOCK], tl.float64)
    bad = tl.zeros([BLOCK], tl.float64)
    for step in range(0, CHUNK, BLOCK):
        place = start + step + tl.arange(0, BLOCK)
        inside = place < size
        x = tl.load(values + place, mask=inside, other=0.0).to(tl.float64)
        finite = tl.abs(x) < float("inf")
        x = tl.where(finite, x, 0.0)
        total += x
        squares += x * x
        top = tl.maximum(top, tl.abs(x))
        others += tl.where(x != 0, 1.0, 0.0)
        bad += tl.where(finite, 0.0, 1.0)
    row = found + program * 5
    tl.store(row, tl.sum(total, axis=0))
    tl.store(row + 1, tl.sum(squares, axis=0))
    tl.store(row + 2, tl.max(top, axis=0))
    tl.store(row + 3, tl.sum(others, axis=0))
    tl.store(row + 4, tl.sum(bad, axis=0))


@triton.jit
def _together(  # type: ignore[no-untyped-def]
    found, firsts, out, MOST: tl.constexpr, ROWS: tl.constexpr
):
    """A tensor's figures from those of its chunks."""
    tensor = tl.program_id(0)
    first = tl.load(firsts + tensor)
    last = tl.load(firsts + tensor + 1)
    total = tl.zeros([ROWS], tl.float64)
    squares = tl.zeros([ROWS], tl.float64)
    top = tl.zeros([ROWS], tl.float64)
    others = tl.zeros([ROWS], tl.float64)
    bad = tl.zeros([ROWS], tl.float64)
    for start in range(0, MOST, ROWS):
        place = first + start + tl.arange(0, ROWS)
        inside = place < last
        row = found + place * 5
        total += tl.load(row, mask=inside, other=0.0)
        squares += tl.load(row + 1, mask=inside, other=0.0)
        top = tl.maximum(top, tl.load(row + 2, mask=inside, other=0.0))
        others += tl.load(row + 3, mask=inside, other=0.0)
        bad += tl.load(row + 4, mask=inside, other=0.0)
    row = out + tensor * 5
    tl.store(row, tl.sum(total, axis=0))
    tl.store(row + 1, tl.sqrt(tl.sum(squares, axis=0)))
    tl.store(row + 2, tl.max(top, axis=0))
    tl.store(row + 3, tl.sum(others, axis=0))
    tl.store(row + 4, tl.sum(bad, axis=0))


class FiguresPlan:
    """How tensors of these sizes, of one dtype and one device, are read; its tables are on that device."""

    def __init__(self, sizes: Sequence[int], dtype: Any, device: Any) -> None:
        self._type = _TYPES[dtype]
        self._device = device
        owners: list[int] = []
        starts: list[int] = []
        firsts = [0]
        for owner, size in enumerate(sizes):
            own = range(0, size, _CHUNK)
            starts.extend(own)
            owners.extend([owner] * len(own))
            firsts.append(len(owners))
        self._sizes, self._owners, self._starts, self._firsts = (
            _table(values, device) for values in (sizes, owners, starts, firsts)
        )
        self._programs, self._tensors = len(owners), len(sizes)
        most = max((after - before for before, after in itertools.pairwise(firsts)), default=1)
        self._most = 1 << max(most - 1, 0).bit_length()  # few different ones: each is compiled
        self._pointers: Any = None
        self._addresses: list[int] = []

    def figures(self, tensors: Sequence[Any]) -> Any:
        """(tensors, 5), as ``eager.figures`` has them. Each of the tensors lies in memory without gaps."""
        addresses = [tensor.data_ptr() for tensor in tensors]
        if addresses != self._addresses:
            self._addresses, self._pointers = addresses, _table(addresses, self._device)
        found = torch.empty((max(self._programs, 1), 5), dtype=torch.float64, device=self._device)
        out = torch.empty((self._tensors, 5), dtype=torch.float64, device=self._device)
        if self._programs:
            _partial[(self._programs,)](
                self._pointers,
                self._sizes,
                self._owners,
                self._starts,
                found,
                TYPE=self._type,
                CHUNK=_CHUNK,
                BLOCK=_BLOCK,
            )
        _together[(self._tensors,)](found, self._firsts, out, MOST=self._most, ROWS=_ROWS)
        return out


def _table(values: Sequence[int], device: Any) -> Any:
    """Whole numbers on the device, copied there without a wait."""
    made = torch.tensor(values, dtype=torch.int64)
    if device.type != "cuda":
        return made.to(device)
    return made.pin_memory().to(device, non_blocking=True)
