"""One of two processes that train together: python sharded_training.py RANK FOLDER.

Writes what it saw of each training into FOLDER/RANK.pt: {(wrapper, how): {name: values}}.
"""

import sys
from datetime import timedelta
from pathlib import Path

import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.device_mesh import init_device_mesh
from torch.nn.parallel import DistributedDataParallel

import evengrad
from evengrad.recording.blackbox import boxes, load

try:
    from torch.distributed.fsdp import fully_shard
except ImportError:  # PyTorch before 2.6
    fully_shard = None

RANKS = 2
STEPS = 6
BOUND = 0.05


def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(12, 33), nn.Tanh(), nn.Linear(33, 4))


def data():
    generator = torch.Generator().manual_seed(1)
    return (
        torch.randn(STEPS, RANKS, 8, 12, generator=generator),
        torch.randint(0, 4, (STEPS, RANKS, 8), generator=generator),
    )


def fully_sharded(model):
    for layer in (model[0], model[2], model):
        fully_shard(layer)
    return model


WRAPPERS = {"ddp": DistributedDataParallel} | ({"fsdp": fully_sharded} if fully_shard else {})


def trained(wrap, how, rank, folder):
    """The losses, the weights at the end, and what the run recorded."""
    model = wrap(network())
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    watching = {
        "plain": None,
        "clipped": None,
        "left out": None,
        "watched": {},
        "watched, clipped": {"clip": BOUND},
        "watched, corrupted": {"guard": "skip:3"},
    }[how]
    watch = None
    if watching is not None:
        where = folder / str(rank)
        watch = evengrad.watch(model, optimizer, folder=where, every=2, **watching)
    losses = []
    for step, (x, y) in enumerate(zip(*data(), strict=True)):
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(model(x[rank]), y[rank])
        loss.backward()
        if how == "clipped":
            nn.utils.clip_grad_norm_(model.parameters(), BOUND)
        if how == "watched, corrupted" and step == 3 and rank == 1:
            last = list(model.parameters())[-1].grad
            getattr(last, "to_local", lambda kept=last: kept)()[-1] = torch.inf
        if step == 3:
            before = [whole(p) for p in model.parameters()]
        if not (how == "left out" and step == 3):
            optimizer.step()
        losses.append(loss.item())
    found = {"losses": losses, "weights": [whole(p) for p in model.parameters()]}
    if watch is not None:
        watch.remove()
        run = evengrad.load(watch.watching.path)
        found |= {
            "norm": run.steps["norm"].tolist(),
            "applied": run.steps["applied"].tolist(),
            "off": watch.watching.off,
        }
        if boxes(watch.watching.path.parent):
            box = load(watch.watching.path)
            arrays = {"box": box.weights, "batch": box.batch, "momentum": box.optimizer}
            found |= {"before": before, "step": box.step, "shard": box.facts["shard"]} | {
                kind: {k: torch.tensor(v) for k, v in table.items()}
                for kind, table in arrays.items()
            }
    return found


def whole(parameter):
    value = parameter.detach()
    return (value.full_tensor() if hasattr(value, "full_tensor") else value).clone()


def main(rank, folder):
    store = f"file://{folder}/store"
    limit = timedelta(seconds=60)
    dist.init_process_group("gloo", store, rank=rank, world_size=RANKS, timeout=limit)
    init_device_mesh("cpu", (RANKS,))
    ways = ["plain", "watched", "clipped", "watched, clipped", "left out", "watched, corrupted"]
    found = {}
    for name, wrap in WRAPPERS.items():
        for how in ways:
            if name == "fsdp" or "corrupted" not in how:
                found[name, how] = trained(wrap, how, rank, folder)
    torch.save(found, folder / f"{rank}.pt")
    dist.destroy_process_group()


if __name__ == "__main__":
    main(int(sys.argv[1]), Path(sys.argv[2]))
