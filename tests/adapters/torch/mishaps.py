"""Two processes with one mishap after another: python mishaps.py FOLDER. Each writes FOLDER/RANK.json."""

import json
import logging
import os
import sys
from datetime import timedelta
from pathlib import Path

import torch
from torch import distributed, nn
from torch.nn.parallel import DistributedDataParallel

import evengrad
from bench.distributed.forks import forked
from evengrad.adapters.torch.sharding import meeting
from evengrad.adapters.torch.sharding.pieces import HeldPieces, Piece
from evengrad.adapters.torch.tap.on_host import HostTap
from evengrad.values.run import Tensor

STEPS = 5


def trained(folder, watched, spoil=lambda watch, step: None):
    torch.manual_seed(0)
    model = DistributedDataParallel(nn.Linear(4, 3))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    watch = evengrad.watch(model, optimizer, folder=folder, every=2) if watched else None
    for step in range(STEPS):
        x = torch.randn(8, 4, generator=torch.Generator().manual_seed(distributed.get_rank()))
        optimizer.zero_grad()
        model(x).square().mean().backward()
        spoil(watch, step)
        optimizer.step()
    found = {"weights": [p.detach().flatten().tolist() for p in model.parameters()]}
    if watch is not None:
        watch.remove()
        run = evengrad.load(watch.watching.path)
        found |= {"off": watch.watching.off, "steps": len(run.steps["step"])}
        found["events"] = [event.message for event in run.events]
    return found


def tap_fails(folder, rank):
    """Before its round in step 2, on rank 1 alone."""

    def spoil(watch, step):
        if rank == 1 and step == 2:
            HostTap._norms = lambda *_: 1 / 0

    kept = HostTap._norms
    try:
        return trained(folder, True, spoil)
    finally:
        HostTap._norms = kept


def fails_later(folder, rank):
    """Behind its round in step 2, on rank 1 alone."""

    def spoil(watch, step):
        if rank == 1 and step == 2:
            watch.watching.step = lambda *_: 1 / 0

    return trained(folder, True, spoil)


def first_alone(folder, rank):
    kept = meeting.Meeting.agree.__defaults__
    meeting.Meeting.agree.__defaults__ = (0.3,)
    try:
        return trained(folder, rank == 0)
    finally:
        meeting.Meeting.agree.__defaults__ = kept
        if rank:
            next(meeting._meetings)  # they count alike again


def disagree(folder, rank):
    tensor = Tensor("layer.weight", "layer", (3, 4 + rank))
    held = HeldPieces((Piece(tensor, "torch.float32"),), frozenset((0, 1)), True)
    try:
        meeting.Meeting(held).agree()
    except evengrad.EvengradError as error:
        return str(error)


def dies(folder, rank):
    def spoil(watch, step):
        if rank == 1 and step == 3:
            os._exit(0)

    return trained(folder, True, spoil)


MISHAPS = (tap_fails, fails_later, disagree, first_alone, dies)


def work(rank, folder):
    said = []
    logging.getLogger("evengrad").addHandler(logging.StreamHandler(Said(said)))
    store, limit = f"file://{folder}/store", timedelta(seconds=60)
    distributed.init_process_group("gloo", store, rank=rank, world_size=2, timeout=limit)
    found = {"bare": trained(None, False)}
    for mishap in MISHAPS:
        try:
            found[mishap.__name__] = mishap(folder / mishap.__name__ / str(rank), rank)
        except RuntimeError as error:
            found[mishap.__name__] = {"error": str(error)}
        (folder / f"{rank}.json").write_text(json.dumps(found | {"said": said}))


class Said:
    def __init__(self, lines):
        self.write = lines.append

    def flush(self):
        pass


if __name__ == "__main__":
    torch.set_num_threads(1)
    forked(2, lambda rank: work(rank, Path(sys.argv[1])))
