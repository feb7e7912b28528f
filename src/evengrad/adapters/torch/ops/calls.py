"""What one torch call says about itself: where it was made, its fan-in, its range."""

from __future__ import annotations

import math
import os
import sys
from pathlib import Path
from typing import Any

import torch

OURS = str(Path(__file__).resolve().parents[3])
TORCH = os.path.dirname(torch.__file__)

# Calls that ask or steer and make no new value: they must meet the very tensor they were made on.
PASSED = frozenset(
    [
        "__get__",
        "__set__",
        "__delete__",
        "requires_grad_",
        "register_hook",
        "register_post_accumulate_grad_hook",
        "retain_grad",
        "detach",
        "detach_",
        "backward",
        "grad",
        "data_ptr",
        "storage",
        "untyped_storage",
        "set_",
        "resize_",
        "is_shared",
        "share_memory_",
        "__deepcopy__",
        "__reduce_ex__",
        "__hash__",
        "__repr__",
        "__format__",
        "__len__",
        "size",
        "dim",
        "ndimension",
        "numel",
        "nelement",
        "stride",
        "storage_offset",
        "is_floating_point",
        "is_contiguous",
        "item",
        "tolist",
        "numpy",
        "__dlpack__",
        "is_same_size",
        "is_set_to",
        "get_device",
    ]
)
_CREATORS = (
    "empty empty_permuted empty_strided ones zeros full arange range linspace logspace eye rand randn randint "
    "randperm tensor as_tensor asarray scalar_tensor tril_indices triu_indices bartlett_window "
    "blackman_window hamming_window hann_window kaiser_window sparse_coo_tensor sparse_csr_tensor "
    "sparse_csc_tensor sparse_bsr_tensor sparse_bsc_tensor sparse_compressed_tensor"
)
CREATORS = frozenset(getattr(torch, name) for name in _CREATORS.split() if hasattr(torch, name))
CREATORS |= {torch.fft.fftfreq, torch.fft.rfftfreq, torch.nested.nested_tensor}
"""Functions that make a tensor on the device that they are told, or on the default one."""
ASKED = frozenset({"__bool__", "__int__", "__float__", "__index__", "item", "tolist", "is_nonzero"})
VIEWED = frozenset({"T", "mT", "H", "mH", "real", "imag"})
SUMS = frozenset(
    [
        "add",
        "sub",
        "__add__",
        "__radd__",
        "__iadd__",
        "__sub__",
        "__rsub__",
        "__isub__",
        "add_",
        "sub_",
        "stack",
        "cat",
        "sum",
    ]
)


def source() -> str | None:
    """The nearest frame outside torch and evengrad, "model.py:31"."""
    frame = sys._getframe(1)
    while frame is not None:
        file = frame.f_code.co_filename
        if not file.startswith((OURS, TORCH, "<frozen")):
            return f"{os.path.basename(file)}:{frame.f_lineno}"
        frame = frame.f_back  # type: ignore[assignment]
    return None


def fan_in(name: str, weight: Any, args: Any, kwargs: Any) -> float:
    """How many inputs each output element sums, on average."""
    shape = weight.shape
    if name.startswith("conv_transpose"):
        stride = _option(args, kwargs, 3, "stride", 1)
        groups = _option(args, kwargs, 6, "groups", 1)
        strides = stride if isinstance(stride, tuple | list) else [stride]
        each = strides if len(strides) == len(shape) - 2 else list(strides) * (len(shape) - 2)
        return float(shape[0] / groups * shape[2:].numel() / math.prod(each))
    if name == "einsum" and isinstance(args[0], str) and "." not in args[0]:
        return _einsum_fan_in(args, weight)
    if name in {"matmul", "__matmul__", "mm", "bmm", "addmm", "baddbmm", "__rmatmul__", "mv"}:
        # Tensor.__rmatmul__(weight, x) computes x @ weight.
        left = weight is args[0] and not name.startswith(("add", "badd", "__r"))
        return float(shape[-1] if left else shape[-2])
    return float(weight[0].numel())


def _einsum_fan_in(args: Any, weight: Any) -> float:
    """The product of the weight's axes that are summed over."""
    operands = list(args[1]) if isinstance(args[1], tuple | list) else list(args[1:])
    left, _, right = args[0].replace(" ", "").partition("->")
    letters = left.split(",")[next(i for i, t in enumerate(operands) if t is weight)]
    kept = zip(letters, weight.shape, strict=True)
    return float(math.prod(n for letter, n in kept if letter not in right))


def flat_ends(args: Any, kwargs: Any) -> tuple[float, float]:
    """The range of a hardtanh call."""
    low = _option(args, kwargs, 1, "min_val", -1.0)
    high = _option(args, kwargs, 2, "max_val", 1.0)
    return float(low), float(high)


def _option(args: Any, kwargs: Any, place: int, name: str, default: Any) -> Any:
    if name in kwargs:
        return kwargs[name]
    return args[place] if len(args) > place else default
