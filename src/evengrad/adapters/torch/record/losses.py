"""What a loss call was given: the output that it reads and the targets, with bad labels set aside."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from types import FrameType, TracebackType
from typing import Any

import torch

from evengrad.adapters.common.targets import targets_of
from evengrad.adapters.torch.compat import tree_map
from evengrad.adapters.torch.ops.calls import OURS
from evengrad.adapters.torch.ops.kinds import LOSSES
from evengrad.adapters.torch.statistics.layout import array
from evengrad.values.probe import Family, Reads, Targets


@dataclass(slots=True)
class Head:
    """The loss call. output is kept only until its tensor number (read) is known.

    fault: what the call raises in plain Python, for its labels are out of range.
    """

    name: str
    family: Family
    reads: Reads
    output: Any
    read: int | None = None
    targets: Targets | None = None
    classes: int | None = None
    ignored: int | None = None
    fault: Exception | None = None


def read_loss(
    func: Callable[..., Any], name: str, args: Any, kwargs: Any, shown: str
) -> tuple[Any, Any, Head]:
    """Describe a loss call, and give back its arguments with class numbers brought into range.

    Out-of-range labels would raise here; clamped, the rest can still be measured and a rule reports
    what the labels really were. Where that loss turns out not to be the one that is trained on,
    ``Head.fault`` is due.
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
        head.fault = _fault(func, args, kwargs)
        target = torch.where(outside, target.clamp(0, head.classes - 1), target)
        if len(args) > 1:
            args = (args[0], target, *args[2:])
        else:
            kwargs = {**kwargs, "target": target}
    return args, kwargs, head


def _fault(func: Callable[..., Any], args: Any, kwargs: Any) -> Exception | None:
    """What a call raises on the CPU; on a GPU it would end every later call, too."""
    args, kwargs = tree_map(_on_cpu, (args, kwargs))
    try:
        func(*args, **kwargs)
    except Exception as error:
        below = None if error.__traceback__ is None else error.__traceback__.tb_next
        return error.with_traceback(_with_callers(below))
    return None


def _on_cpu(value: Any) -> Any:
    if not isinstance(value, torch.Tensor):
        return value
    value = value.detach()
    if value.device.type == "cpu":
        return value
    return value.float().cpu() if value.is_floating_point() else value.cpu()


def _with_callers(trace: TracebackType | None) -> TracebackType | None:
    """A traceback with the frames above ours, as if what it is of had come up through them."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None and frame.f_code.co_filename.startswith(OURS):
        frame = frame.f_back
    while frame is not None:
        trace = TracebackType(trace, frame, frame.f_lasti, frame.f_lineno)
        frame = frame.f_back
    return trace
