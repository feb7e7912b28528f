"""How often a step reads a tensor's values back into Python, where a GPU would have to be waited for."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any
from unittest.mock import patch

import torch
from torch.utils._python_dispatch import TorchDispatchMode

from bench.watching.samples import CYCLE

READS = ("_local_scalar_dense", "item", "is_nonzero", "equal", "nonzero", "masked_select")
METHODS = ("numpy", "tolist", "__array__")


class Reads(TorchDispatchMode):
    """Counts operations whose result the host needs, and copies from a device to the host."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Every operation passes here."""
        out = func(*args, **(kwargs or {}))
        name = func.overloadpacket.__name__
        copies = name in ("_to_copy", "copy_") and _homewards(out, args)
        if name in READS or copies or (name == "index" and _by_mask(args[1])):
            self.count += 1
        return out


def _homewards(out: Any, args: Any) -> bool:
    """Whether a copy went from a device to the host."""
    return out.device.type == "cpu" and any(
        isinstance(a, torch.Tensor) and a.device.type != "cpu" for a in args
    )


def _by_mask(indices: Any) -> bool:
    """Indexing by a mask waits for the number of elements."""
    return any(i is not None and i.dtype in (torch.bool, torch.uint8) for i in indices)


@contextmanager
def reading() -> Iterator[Reads]:
    """On a CPU numpy() and tolist() pass no operation, but on a GPU they would wait: counted by hand."""
    with ExitStack() as stack:
        mode = stack.enter_context(Reads())
        for name in METHODS:
            stack.enter_context(patch.object(torch.Tensor, name, _counted(name, mode)))
        yield mode


def _counted(name: str, mode: Reads) -> Callable[..., Any]:
    method = getattr(torch.Tensor, name)

    def counted(self: Any, *args: Any, **kwargs: Any) -> Any:
        before = mode.count
        result = method(self, *args, **kwargs)
        mode.count = before + 1  # numpy() inside __array__ is the same read
        return result

    return counted


def count(step: Callable[[], Any], first: int, steps: int) -> dict[str, list[int]]:
    """Reads of each step, by its place in the cycle of ten. first: number of the next step."""
    found: dict[str, list[int]] = {}
    for number in range(first, first + steps):
        with reading() as mode:
            step()
        found.setdefault(str(number % CYCLE), []).append(mode.count)
    return found
