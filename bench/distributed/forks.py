"""Processes of one training, forked from one that has imported all."""

from __future__ import annotations

import os
import traceback
from collections.abc import Callable

import torch.distributed.fsdp
import torch.distributed.pipelining
import torch.distributed.tensor.parallel  # noqa: F401


def forked(size: int, body: Callable[[int], None]) -> int:
    """Run it in so many processes, given the rank of each, and wait. How many failed."""
    children = [_child(rank, body) for rank in range(size)]
    return sum(os.waitpid(child, 0)[1] != 0 for child in children)


def _child(rank: int, body: Callable[[int], None]) -> int:
    child = os.fork()
    if child:
        return child
    try:
        body(rank)
    except BaseException:
        traceback.print_exc()
        os._exit(1)
    os._exit(0)
