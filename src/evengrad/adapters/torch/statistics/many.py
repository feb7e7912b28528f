"""Figures of many tensors at once: by one kernel where there is one, else by torch's own operators."""

from __future__ import annotations

import importlib
import logging
from collections.abc import Sequence
from typing import Any

import torch

from evengrad.adapters.torch.statistics import eager
from evengrad.adapters.torch.statistics.layout import plain

log = logging.getLogger("evengrad")
_LARGE = 1 << 18  # elements of a single tensor below which two launches gain nothing
_PLANS = 64  # that are remembered; a training needs one or two, a check one for each shape


class _Compiled:
    """The module ``kernel``, imported where it is first needed; False once it has failed."""

    module: Any = None
    plans: dict[Any, Any] = {}  # noqa: RUF012


def figures(tensors: Sequence[Any]) -> Any:
    """``eager.FIGURES`` of each tensor, (tensors, 5), where they are; they are of one device."""
    worth = len(tensors) > 1 or tensors[0].numel() >= _LARGE
    if worth and all(_readable(tensor) for tensor in tensors):
        found = _by_kernel(tensors)
        if found is not None:
            return found
    return torch.stack([eager.figures(tensor) for tensor in tensors])


def kernel_there(device: Any) -> bool:
    """Whether tensors of a device are read by the kernel."""
    return device.type == "cuda" and _module() is not False


def _readable(tensor: Any) -> bool:
    if tensor.device.type != "cuda" or tensor.layout is not torch.strided or tensor.is_complex():
        return False
    if hasattr(tensor, "full_tensor") or tensor.is_neg():
        return False
    module = _module()
    return module is not False and tensor.dtype in module.TYPES and gapless(tensor)


def gapless(tensor: Any) -> bool:
    """Whether its elements lie side by side in memory, each once, in whatever order."""
    if tensor.is_contiguous():
        return True
    expected = 1
    for stride, size in sorted(zip(tensor.stride(), tensor.shape, strict=True)):
        if size != 1:
            if stride != expected:
                return False
            expected *= size
    return True


def _module() -> Any:
    if _Compiled.module is None:
        try:
            _Compiled.module = importlib.import_module("evengrad.adapters.torch.statistics.kernel")
        except Exception as error:  # no Triton, or one that does not go with this torch
            kernel_failed(error)
    return _Compiled.module


def _by_kernel(tensors: Sequence[Any]) -> Any:
    """None where it fails: then never again, and a line that says so."""
    try:
        kinds: dict[Any, list[int]] = {}
        for place, tensor in enumerate(tensors):
            kinds.setdefault(tensor.dtype, []).append(place)
        if len(kinds) == 1:
            return _of_one_dtype(tensors)
        parts = [_of_one_dtype([tensors[i] for i in own]) for own in kinds.values()]
        order = torch.tensor([i for own in kinds.values() for i in own]).argsort()
        return torch.cat(parts)[order.to(parts[0].device, non_blocking=True)]
    except Exception as error:
        kernel_failed(error)
        return None


def _of_one_dtype(tensors: Sequence[Any]) -> Any:
    sizes = tuple(tensor.numel() for tensor in tensors)
    key = (sizes, tensors[0].dtype, tensors[0].device)
    plan = _Compiled.plans.get(key)
    if plan is None:
        if len(_Compiled.plans) >= _PLANS:
            _Compiled.plans.clear()
        plan = _Compiled.plans[key] = _Compiled.module.FiguresPlan(*key)
    return plan.figures([plain(tensor) for tensor in tensors])


def kernel_failed(error: BaseException) -> None:
    """It is used no more; said once."""
    if _Compiled.module is False:
        return
    _Compiled.module = False
    log.warning(
        "Triton's kernel cannot be used (%s: %s); tensors are read by torch's own operators, which takes "
        "longer.",
        type(error).__name__,
        str(error).splitlines()[0] if str(error) else "no reason given",
    )
