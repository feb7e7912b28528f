"""Values for weights on ``meta``, drawn by their laws, to follow what a model makes of its weights.

A standardised, masked or shifted weight (``1 + scale``) has another law than the weight itself.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch

from evengrad.adapters.torch.compat import tensor_table
from evengrad.adapters.torch.laws.constants import LARGEST
from evengrad.values.spec import Law, Shape


def drawn(law: Law | None, shape: Shape, dtype: Any) -> Any:
    """A tensor of independent elements with this law; None where the law is not known, or it is large."""
    if law is None or law.origin == "unknown" or law.taps is not None or math.prod(shape) > LARGEST:
        return None
    generator = torch.Generator("cpu").manual_seed(math.prod(shape))
    sd = math.sqrt(law.variance)
    if sd <= 1e-7 * law.rms:
        return torch.full(shape, law.mean, dtype=dtype, device="cpu")
    found = torch.empty(shape, dtype=torch.float32, device="cpu")
    if law.origin.startswith("uniform"):
        half = math.sqrt(3) * sd
        found.uniform_(law.mean - half, law.mean + half, generator=generator)
    elif law.origin.startswith("bernoulli"):
        found.bernoulli_(law.mean, generator=generator)
    else:
        found.normal_(law.mean, sd, generator=generator)
    return found.to(dtype)


class StandIns:
    """values: ``meta`` tensor -> values, where those drawn go, too. law: of a parameter."""

    def __init__(self, values: Any, law: Callable[[Any], Law]) -> None:
        self._values = values
        self._law = law
        self._moves: Any = tensor_table()  # a moved weight -> the call that moved it
        self._drawn: Any = tensor_table()

    def moved(self, tensor: Any, call: tuple[Any, Any, Any]) -> None:
        """A weight in another shape; its values are looked up only if something is made of them."""
        self._moves[tensor] = call

    def drew(self, tensor: Any) -> bool:
        """Whether the values of a tensor are of our making and its own law is better."""
        return tensor in self._drawn

    def provide(self, tensor: Any, again: Callable[[Any, Any, Any], Any]) -> bool:
        """Whether a tensor has values now. again: makes a call on values."""
        if tensor in self._values:
            return True
        if tensor in self._moves:
            func, args, kwargs = self._moves[tensor]
            weights = [t for t in args if isinstance(t, torch.Tensor)]
            if not all(self.provide(t, again) for t in weights):
                return False
            found = again(func, args, kwargs)
        elif isinstance(tensor, torch.nn.Parameter):
            found = drawn(self._law(tensor), tuple(tensor.shape), tensor.dtype)
        else:
            return False
        if not isinstance(found, torch.Tensor) or found.shape != tensor.shape:
            return False
        self._values[tensor] = found
        self._drawn[tensor] = True
        return True
