"""Which piece of each tensor this process has, and which other processes train the rest."""

from __future__ import annotations

import gc
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import distributed

from evengrad.adapters.torch.compat import may_end_early, shared_store
from evengrad.values.run import Tensor

_STAGES = "torch.distributed.pipelining.stage"


@dataclass(frozen=True, slots=True)
class Piece:
    """What this process has of one tensor.

    Attributes:
        tensor: as a whole.
        dtype: of its elements.
        cut: which part; the same in processes with the same elements, "" for all of it.
        stage: of a pipeline; -1 where there is none.
        flat: the tensor's shape is that of the part, whose ends may lie in the middle of a row.
    """

    tensor: Tensor
    dtype: str
    cut: str = ""
    stage: int = -1
    flat: bool = False


@dataclass(frozen=True, slots=True)
class HeldPieces:
    """The pieces of one optimizer's tensors in this process, in their order.

    Attributes:
        pieces: of each.
        ranks: the processes that share them, this one among them.
        apart: whether pieces or whole tensors are in other processes alone.
    """

    pieces: tuple[Piece, ...]
    ranks: frozenset[int]
    apart: bool

    @property
    def early(self) -> bool:
        """Whether the others must be met to know what the tensors are."""
        return any(piece.stage >= 0 or piece.flat for piece in self.pieces)


def held(
    names: Mapping[str, Any], roots: Sequence[Any], tensors: Sequence[Tensor]
) -> HeldPieces | None:
    """The pieces of an optimizer's parameters.

    Args:
        names: its parameters by name.
        roots: the models that hold them.
        tensors: what is known of each.

    Returns:
        None where this process trains alone, or nothing of its training says that others do the same: what a
        script sums up by hand is whole in each of them.
    """
    if not (distributed.is_available() and distributed.is_initialized()):
        return None
    if distributed.get_world_size() < 2 or shared_store() is None:
        return None
    ranks: set[int] = set()
    for copied in _copied(roots):
        ranks |= _members(copied)
    flat = dict(_flat(roots))
    staged = dict(_staged(roots))
    pieces = []
    for parameter, tensor in zip(names.values(), tensors, strict=True):
        flattened = flat.get(id(parameter))
        cut, own = flattened or _cut(parameter)
        stage, group = staged.get(id(parameter), (-1, set()))
        ranks |= own | group
        pieces.append(Piece(tensor, str(parameter.dtype), cut, stage, bool(flattened and cut)))
    apart = bool(staged) or any(piece.cut for piece in pieces)
    me = distributed.get_rank()
    return HeldPieces(tuple(pieces), frozenset(ranks | {me}), apart) if ranks - {me} else None


def here(parameter: Any) -> Any:
    """The gradient of this process's piece, whatever its framework left to be summed up."""
    gradient = parameter.grad
    if not hasattr(gradient, "to_local"):
        return gradient
    wanted = getattr(parameter, "placements", gradient.placements)
    if gradient.placements != wanted:
        gradient = gradient.redistribute(placements=wanted)
    return gradient.to_local()


def needs_others(module: Any) -> bool:
    """Whether a forward pass of a module takes other processes' parts of its weights."""
    if any(hasattr(parameter, "full_tensor") for parameter in module.parameters()):
        return True
    kind = _first_fsdp()
    return kind is not None and any(isinstance(one, kind) for one in module.modules())


def joins(roots: Sequence[Any]) -> bool:
    """Whether processes may end before the others (``Join``), which could then wait for them for ever."""
    return any(may_end_early(module) for module in _copied(roots))


def _cut(parameter: Any) -> tuple[str, set[int]]:
    mesh = getattr(parameter, "device_mesh", None)
    if mesh is None or not hasattr(parameter, "placements"):
        return "", set()
    place = mesh.get_coordinate() or [0] * mesh.ndim
    parts = [
        f"{number + 1}/{mesh.size(axis)}"
        for axis, (number, placed) in enumerate(zip(place, parameter.placements, strict=True))
        if not (placed.is_replicate() or placed.is_partial())
    ]
    return ",".join(parts), {int(rank) for rank in mesh.mesh.flatten().tolist()}


def _copied(roots: Sequence[Any]) -> Iterator[Any]:
    kind = torch.nn.parallel.DistributedDataParallel
    for root in roots:
        yield from (module for module in root.modules() if isinstance(module, kind))


def _members(module: Any) -> set[int]:
    return set(distributed.get_process_group_ranks(module.process_group))


def _flat(roots: Sequence[Any]) -> Iterator[tuple[int, tuple[str, set[int]]]]:
    """Of the first kind of FSDP, whose parameters are a part of a flat one: by id."""
    kind = _first_fsdp()
    for root in roots if kind is not None else ():
        for module in root.modules():
            if not isinstance(module, kind):
                continue
            group = module.process_group
            members = set(distributed.get_process_group_ranks(group))
            cut = f"{distributed.get_rank(group) + 1}/{len(members)}"
            whole = module.sharding_strategy.name == "NO_SHARD"
            if module.sharding_strategy.name.startswith("HYBRID"):
                members |= set(range(distributed.get_world_size()))
            for parameter in module.parameters():
                yield id(parameter), ("" if whole else cut, members)


def _first_fsdp() -> Any:
    return getattr(sys.modules.get("torch.distributed.fsdp"), "FullyShardedDataParallel", None)


def _staged(roots: Sequence[Any]) -> Iterator[tuple[int, tuple[int, set[int]]]]:
    """Of a pipeline's stages: by the parameter's id."""
    place = sys.modules.get(_STAGES)
    kind = getattr(place, "PipelineStage", None)
    if kind is None:
        return
    modules = {id(module): module for root in roots for module in root.modules()}
    for stage in _owners(modules.values(), kind):
        members = set(distributed.get_process_group_ranks(stage.group or _world()))
        for module in [modules[id(own)] for own in vars(stage).values() if id(own) in modules]:
            for parameter in module.parameters():
                yield id(parameter), (int(stage.stage_index), members)


def _world() -> Any:
    return distributed.group.WORLD


def _owners(modules: Iterable[Any], kind: type) -> Iterator[Any]:
    """Those of a kind with any of the modules in an attribute; the collector goes through all objects once."""
    holders = gc.get_referrers(*modules)
    owners = gc.get_referrers(*(held for held in holders if type(held) is dict))
    return (
        thing
        for thing in {id(o): o for o in [*holders, *owners]}.values()
        if isinstance(thing, kind)
    )
