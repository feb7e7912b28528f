"""Initialisers that leave ``meta`` tensors alone, and so say nothing of what they would do.

They ask ``tensor.is_meta`` and return: that question is where they are met. Where torch does not ask (2.4),
they are met at their last call.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch.overrides import TorchFunctionMode

from evengrad.values.spec import Law

_FILE = torch.nn.init.__file__
_FRAMES = 6  # other modes may stand between


class Questions(TorchFunctionMode):
    """say: called with a tensor and its law."""

    def __init__(self, say: Callable[[Any, Law], None]) -> None:
        super().__init__()
        self._say = say

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Every torch call; only questions for ``is_meta`` and last calls count."""
        result = func(*args, **(kwargs or {}))
        name = getattr(func, "__name__", "")
        if func == _IS_META or name in _LAST_CALLS.values():
            frame: Any = sys._getframe(1)
            for _ in range(_FRAMES):
                if frame is None or _law(frame) is not None:
                    break
                frame = frame.f_back
            law = None if frame is None else _law(frame)
            if law is not None and (
                func == _IS_META or _LAST_CALLS.get(frame.f_code.co_name) == name
            ):
                self._say(args[0], law(frame.f_locals))
        return result


_IS_META = torch.Tensor.is_meta.__get__


def truncated_normal(mean: float, std: float, low: float, high: float) -> Law:
    """A normal variable on condition that it lies between low and high."""
    a, b = (low - mean) / std, (high - mean) / std
    mass = (math.erf(b / math.sqrt(2)) - math.erf(a / math.sqrt(2))) / 2
    if mass < 1e-12:
        middle = max(low, min(mean, high))
        return Law(middle, abs(middle), "truncated normal")
    ends = [math.exp(-(v**2) / 2) / math.sqrt(2 * math.pi) for v in (a, b)]
    shift = (ends[0] - ends[1]) / mass
    variance = std**2 * (1 + (a * ends[0] - b * ends[1]) / mass - shift**2)
    centre = mean + std * shift
    return Law(centre, math.sqrt(max(variance, 0.0) + centre**2), "truncated normal")


def _trunc(given: Any) -> Law:
    return truncated_normal(*(float(given[n]) for n in ("mean", "std", "a", "b")))


def _orthogonal(given: Any) -> Law:
    """Gain times a matrix whose shorter side is orthonormal."""
    tensor = given["tensor"]
    longer = max(tensor.shape[0], tensor.numel() // max(tensor.shape[0], 1))
    return Law(0.0, abs(float(given["gain"])) / math.sqrt(max(longer, 1)), "orthogonal")


def _sparse(given: Any) -> Law:
    rows = given["tensor"].shape[0]
    kept = 1 - math.ceil(given["sparsity"] * rows) / rows
    return Law(0.0, float(given["std"]) * math.sqrt(max(kept, 0.0)), "sparse")


def _dirac(given: Any) -> Law:
    """One at the kernel's centre, from each channel to its own."""
    shape, groups = given["tensor"].shape, given["groups"]
    ones = min(shape[0] // groups, shape[1]) * groups / math.prod(shape)
    taps = torch.zeros(tuple(shape[2:]), device="cpu")
    taps[tuple(n // 2 for n in shape[2:])] = 1.0
    return Law(ones, math.sqrt(ones), "dirac", tuple(taps.flatten().tolist()))


_LAWS = {
    "trunc_normal_": _trunc,
    "orthogonal_": _orthogonal,
    "sparse_": _sparse,
    "dirac_": _dirac,
}
"""Functions of ``torch.nn.init``; what they were given stands in their frames by the names of the arguments."""

_LAST_CALLS = {"orthogonal_": "mul_", "sparse_": "__setitem__", "dirac_": "__setitem__"}
"""Of those whose calls alone do not tell their law; they are not made on ``meta`` where torch asks before."""


def _law(frame: Any) -> Callable[[Any], Law] | None:
    code = frame.f_code
    return _LAWS.get(code.co_name) if code.co_filename == _FILE else None


@contextmanager
def pretrained_models_initialise() -> Iterator[None]:
    """Models of ``transformers`` do not initialise themselves on ``meta``; inside, they do."""
    base = getattr(sys.modules.get("transformers.modeling_utils"), "PreTrainedModel", None)
    original = getattr(base, "init_weights", None)
    if base is None or original is None or not hasattr(base, "initialize_weights"):
        yield
        return

    def init_weights(self: Any) -> Any:
        self.initialize_weights()
        return original(self)

    base.init_weights = init_weights
    try:
        yield
    finally:
        base.init_weights = original
