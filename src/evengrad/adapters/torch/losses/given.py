"""What a loss function was given, by the names of its arguments, and where the output that it reads ends."""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from functools import cache
from typing import Any

import torch
import torch.nn.functional as F

_VIEWS = frozenset(
    [
        "View",
        "UnsafeView",
        "ReshapeAlias",
        "Alias",
        "Squeeze",
        "Unsqueeze",
        "Clone",
        "ToCopy",
        "Permute",
        "Transpose",
        "T",
        "Expand",
        "Select",
        "Slice",
    ]
)
_HEADS = {
    "Sigmoid": "sigmoid",
    "Tanh": "tanh",
    "Softmax": "softmax",
    "LogSoftmax": "log_softmax",
    "Relu": "relu",
    "Softplus": "softplus",
}


@dataclass(frozen=True, slots=True)
class LossCall:
    """A call of one of torch's loss functions.

    Attributes:
        function: its name, "mse_loss".
        output: what it reads of the model.
        target: what it compares that with.
        options: all other arguments by name.
        clamp: what bounded the output, and its bounds, where a function with bounds did; else None.
    """

    function: str
    output: Any
    target: Any
    options: dict[str, Any]
    clamp: tuple[str, float | None, float | None] | None = None

    @property
    def reduction(self) -> str:
        """How it brings its elements together."""
        return str(self.options.get("reduction", "mean"))


def loss_call(function: str, args: Any, kwargs: Any) -> LossCall | None:
    """A call by its arguments' names; None where it is none of a loss of tensors that a gradient passes."""
    signature = _signature(function)
    if signature is None:
        return None
    try:
        bound = signature.bind(*args, **kwargs)
    except TypeError:
        return None
    bound.apply_defaults()
    options = dict(bound.arguments)
    output = _first(options, "input", "log_probs", "input1")
    target = _first(options, "target", "targets")
    found = LossCall(function, output, target, options)
    tensors = isinstance(output, torch.Tensor) and isinstance(target, torch.Tensor)
    return found if tensors and readable(output, target) else None


def readable(*tensors: Any) -> bool:
    """Whether they have values that can be read here, and a gradient passes through one of them."""
    plain = not any(t.is_meta or hasattr(t, "full_tensor") for t in tensors)
    return plain and all(t.numel() for t in tensors) and any(t.requires_grad for t in tensors)


def head_of(tensor: Any) -> str | None:
    """The activation that made a tensor, seen through changes of its shape: "sigmoid"; None for any other."""
    node = tensor.grad_fn
    while node is not None:
        name = type(node).__name__.rstrip("0123456789").removesuffix("Backward")
        if name not in _VIEWS:
            return _HEADS.get(name)
        node = node.next_functions[0][0] if node.next_functions else None
    return None


def _first(options: dict[str, Any], *names: str) -> Any:
    return next((options.pop(name) for name in names if name in options), None)


@cache
def _signature(function: str) -> inspect.Signature | None:
    found = getattr(F, function, None)
    try:
        return None if found is None else inspect.signature(found)
    except (TypeError, ValueError):
        return None
