"""Weights, buffers and optimizer state as they were: to put back, and to save."""

from __future__ import annotations

import copy
import random
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch

from evengrad.adapters.torch.compat import foreach_copy_
from evengrad.adapters.torch.statistics.layout import array, local

_SMALL = (
    1 << 16
)  # elements; running statistics are below, masks and tables of positions may be above


class Buffers:
    """The buffers of the watched modules (running statistics, counters), which a bad forward pass corrupts
    before any optimizer is asked. depth: how many steps back they are kept.
    """

    def __init__(self, roots: Sequence[Any], depth: int = 1) -> None:
        found = {id(b): b for root in roots for b in root.buffers()}
        self._buffers = [b for b in found.values() if b.numel() <= _SMALL and not b.is_meta]
        self._kept = [[b.detach().clone() for b in self._buffers] for _ in range(depth)]

    def keep(self) -> None:
        """A step is over: this is what they are after it."""
        if self._buffers:
            self._kept.insert(0, self._kept.pop())
            foreach_copy_(self._kept[0], self._buffers)

    def put_back(self, age: int = 0) -> None:
        """To what they were when they were last kept, or ``age`` times before that."""
        kept = self._kept[min(age, len(self._kept) - 1)]
        with torch.no_grad():
            for buffer, value in zip(self._buffers, kept, strict=True):
                buffer.copy_(value)


class RollbackPoint:
    """The last good weights and optimizer state, to roll back to."""

    def __init__(self, parameters: Sequence[Any], optimizer: Any) -> None:
        self._parameters = [(p, p.detach().clone()) for p in parameters]
        self._state = copy.deepcopy(optimizer.state_dict())

    def put_back(self, optimizer: Any, lower: float) -> None:
        """Weights and state, the learning rate of now times ``lower``."""
        rates = [(g.get("lr"), g.get("initial_lr")) for g in optimizer.param_groups]
        with torch.no_grad():
            for parameter, kept in self._parameters:
                parameter.copy_(kept)
        optimizer.load_state_dict(copy.deepcopy(self._state))
        for group, (rate, initial) in zip(optimizer.param_groups, rates, strict=True):
            group["lr"] = rate * lower
            if initial is not None:
                group["initial_lr"] = initial * lower


def weights(roots: Sequence[Any], names: Mapping[str, Any]) -> dict[str, Any]:
    """All parameters and buffers as arrays by name; of those in shards this process's own."""
    found = dict(names)
    known = {id(p) for p in names.values()}
    for number, root in enumerate(roots):
        before = "" if number == 0 else f"{type(root).__name__}_{number}."
        for name, value in root.state_dict(keep_vars=True).items():
            if isinstance(value, torch.Tensor) and id(value) not in known:
                found.setdefault(before + name, value)
    return {n: np.array(array(local(value))) for n, value in found.items() if not value.is_meta}


def optimizer_state(optimizer: Any, names: Mapping[str, Any]) -> dict[str, Any]:
    """The optimizer's tensors as arrays by "weight/slot"; in shards as ``weights`` has them."""
    found = {}
    for name, parameter in names.items():
        for slot, value in optimizer.state.get(parameter, {}).items():
            if isinstance(value, torch.Tensor):
                found[f"{name}/{slot}"] = np.array(array(local(value)))
            elif isinstance(value, int | float):
                found[f"{name}/{slot}"] = np.array(value)
    return found


def shard(names: Mapping[str, Any]) -> dict[str, int] | None:
    """Which process's part of the weights these are; None where it has all of them."""
    if not any(hasattr(parameter, "to_local") for parameter in names.values()):
        return None
    ranks = torch.distributed
    return {"rank": ranks.get_rank(), "processes": ranks.get_world_size()}


def noise() -> tuple[dict[str, Any], dict[str, Any]]:
    """Random states of torch and NumPy as arrays, and of Python's random as plain values."""
    kind, keys, position, has_gauss, gauss = np.random.get_state()
    arrays: dict[str, Any] = {"torch": torch.get_rng_state().numpy(), "numpy": np.array(keys)}
    if torch.cuda.is_available():
        for i, state in enumerate(torch.cuda.get_rng_state_all()):
            arrays[f"cuda/{i}"] = state.numpy()
    facts = {
        "numpy": [str(kind), int(position), int(has_gauss), float(gauss)],
        "python": random.getstate(),
    }
    return arrays, facts
