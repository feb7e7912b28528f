"""The trained tensors of a pytree: the user's own names, and how many inputs each output sums."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np

from evengrad.values.run import Tensor

_TABLES = ("embedding", "embed", "embeddings", "wte", "wpe", "table")


def leaves(tree: Any) -> dict[str, Any]:
    """The floating-point arrays of a pytree by the names that their places in it give them."""
    found = jax.tree_util.tree_flatten_with_path(tree)[0]
    return {_name(path): leaf for path, leaf in found if _is_trained(leaf)}


def tensors_of(found: Mapping[str, Any]) -> tuple[Tensor, ...]:
    """As a run has them. found: from ``leaves``."""
    return tuple(
        Tensor(name, layer_of(name), tuple(map(int, leaf.shape)), fan_in(name, leaf.shape))
        for name, leaf in found.items()
    )


def layer_of(name: str) -> str:
    """The layer of a tensor."""
    return name.rpartition("/")[0] or name


def fan_in(name: str, shape: tuple[int, ...]) -> float | None:
    """Inputs that each output sums. Equinox' ``weight`` has its outputs first, all others have them last; of a
    table of embeddings None, as of biases and scales.
    """
    own = name.rpartition("/")[2].lower()
    if len(shape) < 2 or any(part in own for part in _TABLES):
        return None
    sides = shape[1:] if own.startswith("weight") else shape[:-1]
    return float(math.prod(sides))


def _name(path: tuple[Any, ...]) -> str:
    parts = [str(part) for part in map(_key, path) if part is not None]
    return "/".join(parts) or "parameter"


def _key(part: Any) -> Any:
    for attribute in ("key", "name", "idx"):
        if hasattr(part, attribute):
            found = getattr(part, attribute)
            return None if found == "value" else found
    return part


def _is_trained(leaf: Any) -> bool:
    kind = getattr(leaf, "dtype", None)
    if kind is None or getattr(leaf, "size", 0) == 0 or kind == jax.dtypes.float0:
        return False
    return bool(jax.numpy.issubdtype(kind, np.inexact))
