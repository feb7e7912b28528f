"""What is kept of the tensors and calls of a step."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import torch

from evengrad.adapters.common.source import Spot
from evengrad.adapters.torch.statistics.layout import local


@dataclass(slots=True, eq=False)
class HeardTensor:
    """A tensor as it was when a call took or made it.

    Attributes:
        low: its smallest finite value; NaN where it has none.
        high: its largest one.
        zeros: share that is exactly 0.
        bad: share that is not finite.
        nan: whether any is NaN.
        dtype: without "torch.".
        shape: its shape.
        version: counts the writes in place.
        call: what made it; None where that was not heard.
        born: where what is not finite in it began.
        role: "weights", "batch", "targets" or "constant"; None where not known.
        trained: whether it is a weight or made of any.
        meant: holds infinities that were put in on purpose, and no other.
        name: the user's.
    """

    low: float = math.nan
    high: float = math.nan
    zeros: float = 0.0
    bad: float = 0.0
    nan: bool = False
    dtype: str = ""
    shape: tuple[int, ...] = ()
    version: int = 0
    call: HeardCall | None = None
    born: Beginning | None = None
    role: str | None = None
    trained: bool = False
    meant: bool = False
    name: str = ""


@dataclass(slots=True, eq=False)
class HeardCall:
    """A call of torch, by the user or inside of another.

    Attributes:
        function: what was called.
        name: its plain name.
        order: counts the calls.
        spot: in the user's code.
        parent: the call that it was made in.
        module: the innermost one that it was made in, where its root has weights.
        operands: the tensors that it was given, in order.
        made: the tensors that it gave.
    """

    function: Any
    name: str
    order: int
    spot: Spot | None
    parent: HeardCall | None
    module: Any = None
    operands: list[HeardTensor] = field(default_factory=list)
    made: list[HeardTensor] = field(default_factory=list)


@dataclass(slots=True, eq=False)
class Beginning:
    """Where something that is not finite began.

    Attributes:
        direction: "forward", "backward" or "given".
        call: that made it; of what was given, the first one that took it.
        tensor: of "given", itself; else the first result of the call that is not finite.
        order: when, among all calls and nodes.
        share: of the result or gradient that is not finite.
        nan: whether any is NaN.
        hidden: the gradient that came in was 0 wherever what went out is not finite.
        dtype: of the result or gradient.
    """

    direction: str
    call: HeardCall | None
    tensor: HeardTensor | None
    order: int
    share: float = 0.0
    nan: bool = True
    hidden: bool = False
    dtype: str = ""


def figures(tensor: Any) -> HeardTensor:
    """Its range, zeros and what is not finite; nothing of what has no values."""
    found = HeardTensor(dtype=str(tensor.dtype).removeprefix("torch."), shape=tuple(tensor.shape))
    floating = tensor.is_floating_point() or tensor.is_complex()
    if tensor.is_meta or not floating or not tensor.numel() or tensor.layout != torch.strided:
        return found
    with torch.no_grad():
        values = local(tensor.detach())
        values = torch.view_as_real(values) if values.is_complex() else values
        _read(found, values)
    return found


def _read(found: HeardTensor, values: Any) -> None:
    low, high = (float(end) for end in torch.aminmax(values))
    found.zeros = float((values == 0).sum()) / values.numel()
    if not (math.isfinite(low) and math.isfinite(high)):
        finite = torch.isfinite(values)
        found.bad = 1 - float(finite.sum()) / values.numel()
        found.nan = bool(torch.isnan(values).any())
        rest = values[finite]
        low, high = map(float, torch.aminmax(rest)) if rest.numel() else (math.nan, math.nan)
    found.low, found.high = low, high
