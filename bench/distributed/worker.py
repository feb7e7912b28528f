"""The processes: ``python -m bench.distributed.worker SIZE FOLDER WAYS``.

Each trains in each way, watched, and once more with one process spoilt at one step. It writes what its runs
recorded into FOLDER/RANK.json. They are forks of one that has imported all, which takes longer than all else.
"""

from __future__ import annotations

import json
import math
import sys
import warnings
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
from torch import distributed

import evengrad
from bench.distributed.forks import forked
from bench.distributed.nets import data, made, optimizer_of
from bench.distributed.ways import WAYS, Way

BAD_STEP = 1


def trained(way: Way, folder: Path, *, spoilt: bool) -> dict[str, Any]:
    """What the run of this process says. spoilt: the last process's batch or gradient, at one step."""
    spread = way.spread(made(way.kind))
    optimizer = optimizer_of(spread.model)
    last = distributed.get_rank() == distributed.get_world_size() - 1
    with evengrad.watch(
        spread.model, optimizer, folder=folder, every=1, guard="skip:3" if spoilt else "stop"
    ) as watch:
        for step, (x, y) in enumerate(zip(*data(), strict=True)):
            bad = spoilt and last and step == BAD_STEP
            optimizer.zero_grad()
            spread.backward(torch.full_like(x, math.nan) if bad and way.bad == "batch" else x, y)
            if bad and way.bad == "gradient":
                _spoil(next(p.grad for p in spread.model.parameters() if _here(p.grad).numel()))
            optimizer.step()
    run = evengrad.load(watch.watching.path)
    tensors = len(run.subject.tensors)
    finite = all(bool(torch.isfinite(_here(p)).all()) for p in spread.model.parameters())
    return {
        "norm": run.steps["norm"].tolist(),
        "loss": run.steps["loss"].tolist(),
        "applied": run.steps["applied"].tolist(),
        "details": {
            name: run.details[name].reshape(-1, tensors).tolist()
            for name in run.details
            if name not in ("step", "tensor")
        },
        "names": [tensor.name for tensor in run.subject.tensors],
        "events": [event.message for event in run.events],
        "off": watch.watching.off,
        "finite": finite,
    }


def _here(tensor: Any) -> Any:
    return tensor.to_local() if hasattr(tensor, "to_local") else tensor


def _spoil(gradient: Any) -> None:
    with torch.no_grad():
        _here(gradient).view(-1)[0] = math.nan


def work(rank: int, size: int, folder: Path, names: list[str]) -> None:
    """Train in each of these ways, as one of the processes."""
    store, limit = f"file://{folder}/store", timedelta(seconds=60)
    distributed.init_process_group("gloo", store, rank=rank, world_size=size, timeout=limit)
    found = {}
    for way in WAYS:
        if way.name in names and size in way.sizes:
            place = folder / str(rank) / way.name
            found[way.name] = {
                "healthy": trained(way, place / "healthy", spoilt=False),
                "spoilt": trained(way, place / "spoilt", spoilt=True),
            }
    (folder / f"{rank}.json").write_text(json.dumps(found))
    distributed.destroy_process_group()


def main() -> None:
    """Fork them, and wait."""
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    size, folder, names = int(sys.argv[1]), Path(sys.argv[2]), sys.argv[3].split(",")
    sys.exit(forked(size, lambda rank: work(rank, size, folder, names)))


if __name__ == "__main__":
    main()
