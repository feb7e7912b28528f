"""Figures that are taken as tensors come by, and read by the host all together, later."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch

from evengrad.adapters.torch.statistics.eager import FIGURES, summary
from evengrad.adapters.torch.statistics.layout import array
from evengrad.adapters.torch.statistics.many import figures
from evengrad.values.summary import Summary, summarise


def as_numbers(packed: Any) -> list[float]:
    """A small tensor on the host, flat: one read."""
    found: list[float] = packed.detach().reshape(-1).cpu().tolist()
    return found


class _Forced:
    """How often ``as_on_a_device`` was begun and not ended."""

    depth = 0


@contextmanager
def as_on_a_device() -> Iterator[None]:
    """Inside, tensors of the CPU are treated as an accelerator's would be: to test that way without one."""
    _Forced.depth += 1
    try:
        yield
    finally:
        _Forced.depth -= 1


def away(tensor: Any) -> bool:
    """Whether the host would wait for a tensor's values; one in shards and one without values are its own."""
    if hasattr(tensor, "full_tensor") or tensor.is_meta:
        return False
    return bool(_Forced.depth) or tensor.device.type != "cpu"


class Ledger:
    """Takes figures of tensors now and tells them at ``read``, by one copy to the host a device and dtype.

    On the CPU the host reads tensors itself, which is faster there, and tells at once.

    Args:
        late: small tensors of the CPU are told later, too.
    """

    def __init__(self, *, late: bool = False) -> None:
        self._late = late
        self._waiting: list[tuple[Any, Callable[[list[float]], None]]] = []

    def away(self, tensor: Any) -> bool:
        """Whether a tensor's figures are worked out where it is."""
        return away(tensor)

    def summary(self, tensor: Any, tell: Callable[[Summary], None]) -> None:
        """Of a tensor, which may be gone when ``tell`` is called."""
        if not self.away(tensor):
            tell(summarise(array(tensor)))
            return
        shape = _shape(tensor)
        self.numbers(figures([tensor]), lambda packed: tell(summary(shape, packed)))

    def summaries(self, tensors: Sequence[Any], tell: Sequence[Callable[[Summary], None]]) -> None:
        """Of many, each with its own ``tell``: one launch for all on a device, where there is a kernel."""
        kinds: dict[Any, list[int]] = {}
        for place, tensor in enumerate(tensors):
            if self.away(tensor):
                kinds.setdefault(tensor.device, []).append(place)
            else:
                self.summary(tensor, tell[place])
        for places in kinds.values():
            own = [tensors[place] for place in places]
            shapes = [_shape(tensor) for tensor in own]
            several = [tell[place] for place in places]
            self.numbers(figures(own), partial(_tell_each, shapes, several))

    def numbers(self, packed: Any, tell: Callable[[list[float]], None]) -> None:
        """A small tensor, flat, as it is now."""
        if packed.device.type == "cpu" and not (self._late or _Forced.depth):
            tell(as_numbers(packed))
        else:
            self._waiting.append((packed.detach(), tell))

    def read(self) -> None:
        """Tell all that waits."""
        waiting, self._waiting = self._waiting, []
        kinds: dict[Any, list[tuple[Any, Callable[[list[float]], None]]]] = {}
        for packed, tell in waiting:
            kinds.setdefault((packed.device, packed.dtype), []).append((packed, tell))
        for group in kinds.values():
            values = as_numbers(torch.cat([packed.reshape(-1) for packed, _ in group]))
            start = 0
            for packed, tell in group:
                end = start + packed.numel()
                tell(values[start:end])
                start = end


def together(numbers: Sequence[Any]) -> list[float]:
    """One number of each of these tensors of one element, on the host: by one read a device and dtype."""
    found = [0.0] * len(numbers)
    ledger = Ledger(late=True)
    for place, number in enumerate(numbers):
        ledger.numbers(number, partial(_put, found, place))
    ledger.read()
    return found


def _put(found: list[float], place: int, values: list[float]) -> None:
    found[place] = values[0]


def _shape(tensor: Any) -> tuple[int, ...]:
    return tuple(tensor.shape) + ((2,) if tensor.is_complex() else ())


def _tell_each(
    shapes: Sequence[tuple[int, ...]],
    tell: Sequence[Callable[[Summary], None]],
    packed: Sequence[float],
) -> None:
    for place, (shape, one) in enumerate(zip(shapes, tell, strict=True)):
        one(summary(shape, packed[place * FIGURES : (place + 1) * FIGURES]))


def summary_of(tensor: Any) -> Summary:
    """Figures of one tensor on any device, of any layout and any dtype, at once."""
    found: list[Summary] = []
    ledger = Ledger()
    ledger.summary(tensor, found.append)
    ledger.read()
    return found[0]
