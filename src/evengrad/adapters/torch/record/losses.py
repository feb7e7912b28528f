"""What a loss call was given: the output that it reads and the targets, with bad labels set aside."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch

from evengrad.adapters.common.targets import targets_of
from evengrad.adapters.torch.ops.kinds import LOSSES
from evengrad.adapters.torch.record.tensors import array
from evengrad.values.probe import Family, Reads, Targets


@dataclass(slots=True)
class Head:
    """The loss call. output is kept only until its tensor number (read) is known."""

    name: str
    family: Family
    reads: Reads
    output: Any
    read: int | None = None
    targets: Targets | None = None
    classes: int | None = None
    ignored: int | None = None


def read_loss(name: str, args: Any, kwargs: Any, shown: str) -> tuple[Any, Any, Head]:
    """Describe a loss call, and give back its arguments with class numbers brought into range.

    Out-of-range labels would raise here; clamped, the rest can still be measured and a rule reports
    what the labels really were.
    """
    family, reads = LOSSES.get(name, ("other", "unknown"))
    output = args[0] if args else kwargs.get("input")
    target = args[1] if len(args) > 1 else kwargs.get("target")
    head = Head(shown, family, reads, output)
    if not isinstance(output, torch.Tensor) or not isinstance(target, torch.Tensor):
        return args, kwargs, head
    head.targets = targets_of(array(target), str(target.dtype).removeprefix("torch."))
    if family != "sparse_categorical":
        head.classes = int(output.shape[-1]) if output.ndim > 1 else 1
        return args, kwargs, head
    head.classes = int(output.shape[1] if output.ndim > 1 else output.shape[0])
    if target.is_floating_point():
        head.family = "categorical"
        return args, kwargs, head
    ignored = kwargs.get("ignore_index", -100)
    head.ignored = int(ignored)
    outside = ((target < 0) | (target >= head.classes)) & (target != ignored)
    if bool(outside.any()):
        target = torch.where(outside, target.clamp(0, head.classes - 1), target)
        if len(args) > 1:
            args = (args[0], target, *args[2:])
        else:
            kwargs = {**kwargs, "target": target}
    return args, kwargs, head
