"""``functools.lru_cache`` on a model's own functions, such as those that make position indices.

What a description puts there has no values, and would be met again by the real model.
"""

from __future__ import annotations

import functools
import gc
from typing import Any

import torch

_WRAPPER: Any = type(functools.lru_cache(lambda: None))
_DEPTH = 3  # wrapper, link, tuple, tensor


def forget_meta() -> None:
    """Empty each cache that holds a tensor on ``meta``."""
    for found in gc.get_objects():
        if type(found) is _WRAPPER and found.cache_info().currsize and _holds(found, _DEPTH):
            found.cache_clear()


def _holds(value: Any, depth: int) -> bool:
    for part in gc.get_referents(value):
        if isinstance(part, torch.Tensor):
            if part.is_meta:
                return True
        elif (
            depth
            and (type(part) in (tuple, list, dict) or _is_link(part))
            and _holds(part, depth - 1)
        ):
            return True
    return False


def _is_link(part: Any) -> bool:
    return type(part).__name__ == "_lru_list_elem"
