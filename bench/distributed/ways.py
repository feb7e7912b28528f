"""The ways in which people spread a training over processes, each as torch has it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import distributed, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.nn.functional import cross_entropy
from torch.nn.parallel import DistributedDataParallel

from bench.distributed.nets import BATCH, Net, Tied, staged

Backward = Callable[[Any, Any], Any]
"""Makes the gradients of a batch; gives the loss where this process has one."""


@dataclass(frozen=True)
class Spread:
    """A training as one process has it.

    Attributes:
        model: what the optimizer trains.
        backward: of a whole batch, of which it takes its share.
    """

    model: nn.Module
    backward: Backward


@dataclass(frozen=True)
class Way:
    """One of them.

    Attributes:
        name: a word.
        title: what it is, in the table.
        sizes: numbers of processes that it is tried with.
        kind: makes the network.
        spread: sets it up.
        bad: what one process's is spoilt: its "batch", or its "gradient".
    """

    name: str
    title: str
    sizes: tuple[int, ...]
    kind: Callable[[], nn.Module]
    spread: Callable[[nn.Module], Spread]
    bad: str = "batch"


def _share(x: Any, y: Any, group: Any = None) -> tuple[Any, Any]:
    place, size = distributed.get_rank(group), distributed.get_world_size(group)
    rows = slice(place * BATCH // size, (place + 1) * BATCH // size)
    return x[rows], y[rows]


def _plainly(model: nn.Module, group: Any = None) -> Backward:
    def backward(x: Any, y: Any) -> Any:
        inputs, targets = _share(x, y, group)
        loss = cross_entropy(model(inputs), targets)
        loss.backward()
        return loss

    return backward


def _ddp(model: nn.Module) -> Spread:
    wrapped = DistributedDataParallel(model)
    return Spread(wrapped, _plainly(wrapped))


def _no_sync(model: nn.Module) -> Spread:
    wrapped = DistributedDataParallel(model)

    def backward(x: Any, y: Any) -> Any:
        inputs, targets = _share(x, y)
        half = len(inputs) // 2
        total = 0.0
        for number, part in enumerate((slice(half), slice(half, None))):
            with wrapped.no_sync() if number == 0 else nullcontext():
                loss = cross_entropy(wrapped(inputs[part]), targets[part]) / 2
                loss.backward()
            total += float(loss.detach())
        return torch.tensor(total)

    return Spread(wrapped, backward)


def _fully(model: nn.Module, mesh: Any = None) -> nn.Module:
    from torch.distributed.fsdp import fully_shard

    for layer in (m for m in model.children() if isinstance(m, nn.Linear)):
        if not isinstance(model, Tied):  # what is tied must be in one group
            fully_shard(layer, mesh=mesh)
    return fully_shard(model, mesh=mesh)


def _fsdp(model: nn.Module) -> Spread:
    sharded = _fully(model)
    return Spread(sharded, _plainly(sharded))


def _first_fsdp(model: nn.Module) -> Spread:
    from torch.distributed.fsdp import FullyShardedDataParallel

    wrapped = FullyShardedDataParallel(model, device_id=torch.device("cpu"), use_orig_params=True)
    return Spread(wrapped, _plainly(wrapped))


def _hsdp(model: nn.Module) -> Spread:
    mesh = init_device_mesh(
        "cpu", (2, distributed.get_world_size() // 2), mesh_dim_names=("copies", "shards")
    )
    sharded = _fully(model, mesh)
    return Spread(sharded, _plainly(sharded))


def _in_tensors(model: nn.Module, mesh: Any) -> nn.Module:
    """Rows of one layer, columns of the next, the batch's rows in between, and the head in each process."""
    from torch.distributed.tensor import Replicate, Shard
    from torch.distributed.tensor.parallel import (
        ColwiseParallel,
        RowwiseParallel,
        SequenceParallel,
        parallelize_module,
    )

    plan = {
        "a": ColwiseParallel(output_layouts=Shard(0)),
        "norm": SequenceParallel(sequence_dim=0),
        "b": RowwiseParallel(input_layouts=Shard(0), output_layouts=Replicate()),
    }
    return parallelize_module(model, mesh, plan)


def _whole(model: nn.Module) -> Backward:
    def backward(x: Any, y: Any) -> Any:
        loss = cross_entropy(model(x), y)
        loss.backward()
        return loss

    return backward


def _tensor_parallel(model: nn.Module) -> Spread:
    _in_tensors(model, init_device_mesh("cpu", (distributed.get_world_size(),)))
    return Spread(model, _whole(model))


def _two_axes(model: nn.Module) -> Spread:
    mesh = init_device_mesh("cpu", (2, 2), mesh_dim_names=("data", "tensor"))
    _in_tensors(model, mesh["tensor"])
    sharded = _fully(model, mesh["data"])
    return Spread(sharded, _plainly(sharded, mesh["data"].get_group()))


def _pipeline(model: nn.Module, group: Any = None, wrap: Any = None) -> Spread:
    from torch.distributed.pipelining import PipelineStage, ScheduleGPipe

    last = distributed.get_rank(group) == 1
    layers: Sequence[nn.Module] = list(model)  # type: ignore[call-overload]
    part: nn.Module = nn.Sequential(*(layers[2:] if last else layers[:2]))
    part = part if wrap is None else wrap(part)
    stage = PipelineStage(part, int(last), 2, torch.device("cpu"), group=group)
    schedule = ScheduleGPipe(stage, 2, loss_fn=cross_entropy)

    def backward(x: Any, y: Any) -> Any:
        losses: list[Any] = []
        if last:
            schedule.step(target=y, losses=losses)
            return torch.stack(losses).mean().detach()
        schedule.step(x)
        return None

    return Spread(part, backward)


def _pipeline_sharded(model: nn.Module) -> Spread:
    from torch.distributed.fsdp import fully_shard

    mesh = init_device_mesh("cpu", (2, 2), mesh_dim_names=("stage", "data"))
    across, along = mesh["stage"].get_group(), mesh["data"].get_group()
    spread = _pipeline(model, across, lambda part: fully_shard(part, mesh=mesh["data"]))
    return Spread(spread.model, lambda x, y: spread.backward(*_share(x, y, along)))


_PARALLEL = "tensor parallel: `parallelize_module`, sequence parallel norm"
_PIPELINE = "pipeline: `PipelineStage`, names of the stages alike"
_UNEVEN = "FSDP2: `fully_shard`, with rows that do not divide and an empty shard"
WAYS = (
    Way("ddp", "DistributedDataParallel", (2, 4), Net, _ddp),
    Way("no_sync", "DistributedDataParallel, accumulated under `no_sync`", (2, 4), Net, _no_sync),
    Way("fsdp", _UNEVEN, (2, 4), Net, _fsdp),
    Way("tied", "FSDP2 with tied weights", (2, 4), Tied, _fsdp, "gradient"),
    Way("hsdp", "HSDP: `fully_shard` on a mesh of two axes", (4,), Net, _hsdp),
    Way("tensor", _PARALLEL, (2, 4), Net, _tensor_parallel, "gradient"),
    Way("fsdp_tensor", "FSDP2 and tensor parallel", (4,), Net, _two_axes, "gradient"),
    Way("pipeline", _PIPELINE, (2,), staged, _pipeline, "gradient"),
    Way("pipeline_fsdp", "pipeline of FSDP2", (4,), staged, _pipeline_sharded, "gradient"),
    Way("fsdp1", "FullyShardedDataParallel (the first FSDP)", (2, 4), Net, _first_fsdp),
)
