"""What watching costs a step of two processes: ``python -m bench.distributed.cost FOLDER``.

Bare and watched blocks of steps take turns in one run, so that whatever else the machine does meets both alike.
"""

from __future__ import annotations

import json
import statistics
import sys
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import distributed, nn
from torch.nn.functional import cross_entropy
from torch.nn.parallel import DistributedDataParallel

import evengrad
from bench.distributed.forks import forked
from evengrad.adapters.torch.sharding.rounds import FLAGS

_BLOCKS, _STEPS, _SIZE = 9, 10, 2


def network() -> nn.Module:
    """Convolutions with batch normalisation, 50 tensors."""
    layers: list[nn.Module] = []
    width = 3
    for out in (32, 32, 32, 64, 64, 64, 64, 64, 64, 64, 64, 64):
        layers += [nn.Conv2d(width, out, 3, padding=1), nn.BatchNorm2d(out), nn.ReLU()]
        width = out
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(width, 10))


class _Training:
    def __init__(self) -> None:
        torch.manual_seed(0)
        self.model = DistributedDataParallel(network())
        self.optimizer = torch.optim.SGD(self.model.parameters(), lr=1e-3)
        self.x, self.y = torch.randn(16, 3, 16, 16), torch.arange(16) % 10

    def seconds(self) -> float:
        """Of a step, the mean of a block."""
        distributed.barrier()
        start = time.perf_counter()
        for _ in range(_STEPS):
            self.optimizer.zero_grad()
            cross_entropy(self.model(self.x), self.y).backward()
            self.optimizer.step()
        return (time.perf_counter() - start) / _STEPS


def _round(tensors: int) -> float:
    packed = torch.zeros(tensors + FLAGS, dtype=torch.float64)
    distributed.barrier()
    start = time.perf_counter()
    for _ in range(_STEPS):
        distributed.all_reduce(packed)
    return (time.perf_counter() - start) / _STEPS


def work(rank: int, folder: Path) -> None:
    """One of the processes."""
    store, limit = f"file://{folder}/store", timedelta(seconds=120)
    distributed.init_process_group("gloo", store, rank=rank, world_size=_SIZE, timeout=limit)
    bare, watched = _Training(), _Training()
    tensors = len(list(bare.model.parameters()))
    rows: list[tuple[float, float, float]] = []
    with evengrad.watch(watched.model, watched.optimizer, folder=folder / str(rank)):
        for one in (bare, watched):
            one.seconds()
        for _ in range(_BLOCKS):
            rows.append((bare.seconds(), watched.seconds(), _round(tensors)))
    if rank == 0:
        (folder / "cost.json").write_text(json.dumps(_figures(rows, tensors)))
    distributed.destroy_process_group()


def _figures(rows: list[tuple[float, float, float]], tensors: int) -> dict[str, Any]:
    bare, watched, one = (np.array(column) for column in zip(*rows, strict=True))
    return {
        "tensors": tensors,
        "bare_ms": 1e3 * statistics.median(bare),
        "watched": statistics.median(watched / bare),
        "spread": [float(v) for v in np.percentile(watched / bare, [25, 75])],
        "round": statistics.median(one / bare),
    }


def main() -> None:
    """Fork them, and wait."""
    torch.set_num_threads(1)
    folder = Path(sys.argv[1])
    sys.exit(forked(_SIZE, lambda rank: work(rank, folder)))


if __name__ == "__main__":
    main()
