"""What the outermost modules were given and gave."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch

from evengrad.adapters.torch.compat import tree_leaves


@dataclass(slots=True)
class ModelInput:
    """A tensor that a model was called with. leaf: where its gradient ends; None for integers."""

    name: str
    value: Any
    forward_pass: int
    number: int | None = None
    leaf: Any = None


@dataclass(slots=True)
class RootCall:
    """A call of an outermost module. noise: the random state before it. returned: numbers of the tensors
    that it gave, None where no gradient comes through.
    """

    module: Any
    args: Any
    kwargs: Any
    noise: Any
    training: bool
    returned: list[int | None] = field(default_factory=list)


def tensors_of(result: Any) -> list[Any]:
    """The tensors that a model returned, in a tuple, a dict or an object of its own."""
    leaves = tree_leaves(result)
    opaque = [v for v in leaves if not isinstance(v, torch.Tensor) and hasattr(v, "__dict__")]
    return leaves + [t for v in opaque for t in tree_leaves(dict(vars(v)))]
