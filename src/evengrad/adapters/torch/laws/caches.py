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

Fillings = dict[int, tuple[Any, int]]
"""By id: a cache, and how often something was put into it."""


def fillings() -> Fillings:
    """Of every cache that there is now."""
    caches = [found for found in gc.get_objects() if type(found) is _WRAPPER]
    return {id(cache): (cache, cache.cache_info().misses) for cache in caches}


def forget_meta(before: Fillings) -> None:
    """Empty each cache that something was put into since then, if it holds a tensor on ``meta``."""
    for key, (cache, misses) in fillings().items():
        filled = misses > before.get(key, (cache, 0))[1]
        if filled and cache.cache_info().currsize and _holds(cache, _DEPTH):
            cache.cache_clear()


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
    """Of the chain by which a cache knows what was asked for last; a class without a public name."""
    return type(part).__module__ == "functools" and type(part) is not _WRAPPER
