"""Which models an optimizer trains: the outermost modules that hold its parameters.

Python's garbage collector knows every module, but to ask it for all objects is not safe beside other threads:
one that builds a tuple at that moment gets a SystemError. So a script's modules are noted when they are made,
and from a module that is known the collector is asked for its owners alone.
"""

from __future__ import annotations

import gc
import itertools
import weakref
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import torch
from torch import nn

from evengrad.adapters.common.patching import Patches

_made: dict[int, weakref.ref[nn.Module]] = {}
_stamps: dict[int, int] = {}
_count = itertools.count(1)


def note_modules(patches: Patches) -> None:
    """From now on note each module that is made, copied or loaded."""
    patches.wrap(nn.Module, "__init__", _noting)
    patches.wrap(nn.Module, "__setstate__", _noting)


def _noting(original: Callable[..., Any]) -> Callable[..., Any]:
    def method(module: nn.Module, *args: Any, **kwargs: Any) -> Any:
        key = id(module)
        _made[key] = weakref.ref(module, lambda _: _forget(key))
        _stamps[key] = next(_count)
        return original(module, *args, **kwargs)

    return method


def _forget(key: int) -> None:
    _made.pop(key, None)
    _stamps.pop(key, None)


def made_modules() -> list[nn.Module]:
    """Those that were noted and are still there."""
    return [module for ref in list(_made.values()) if (module := ref()) is not None]


def stamp() -> int:
    """A number above those of all modules that were made so far, and below those of all that will be."""
    return next(_count)


def stamp_of(module: nn.Module) -> int:
    """When it was made, against other modules and ``stamp``; 0 where it was not noted."""
    return _stamps.get(id(module), 0)


def find_roots(parameters: Iterable[Any], known: Iterable[nn.Module] = ()) -> list[nn.Module]:
    """The outermost modules that hold any of these parameters, most parameters first.

    Args:
        parameters: of one optimizer.
        known: modules to begin from; their owners are found. Beside them count those that were noted.
    """
    wanted = {id(p) for p in parameters}
    holders: dict[int, tuple[int, nn.Module]] = {}
    for module in _candidates(known):
        try:
            count = sum(id(p) in wanted for p in module.parameters())
        except Exception:  # a module that is only half made
            continue
        if count:
            holders[id(module)] = (count, module)
    inner = {id(m) for _, one in holders.values() for m in one.modules() if m is not one}
    found = [pair for key, pair in holders.items() if key not in inner]
    return [module for _, module in sorted(found, key=lambda pair: -pair[0])]


def _candidates(known: Iterable[nn.Module]) -> Sequence[nn.Module]:
    found = {id(m): m for m in made_modules()}
    left = {id(module): module for module in known if id(module) not in found}
    while left:
        found |= left
        owners = {id(owner): owner for owner in _owners(left)}
        left = {key: owner for key, owner in owners.items() if key not in found}
    return list(found.values())


def _owners(modules: dict[int, nn.Module]) -> Iterator[nn.Module]:
    """The modules that any of these, by their ids, is a child of.

    The collector is asked for all at once: it goes through every object, however few are sought.
    """
    lists = filter(_is_dict, _referrers(modules.values()))
    attributes = _referrers(lists)
    for thing in [*attributes, *_referrers(filter(_is_dict, attributes))]:
        if issubclass(type(thing), nn.Module) and any(id(m) in modules for m in thing.children()):
            yield thing


def _referrers(things: Iterable[Any]) -> list[Any]:
    sought = tuple(things)
    return gc.get_referrers(*sought) if sought else []


def _is_dict(thing: Any) -> bool:
    return issubclass(type(thing), dict)


def half_share(optimizer: Any) -> float:
    """The share of an optimizer's weights that are kept in float16."""
    own = [p for group in optimizer.param_groups for p in group["params"]]
    total = sum(p.numel() for p in own)
    return sum(p.numel() for p in own if p.dtype == torch.float16) / total if total else 0.0


def dropout_rates(roots: Iterable[nn.Module]) -> list[list[Any]]:
    """Of these modules' dropout layers, each with its name; those that drop nothing are left out."""
    kinds = (nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d, nn.AlphaDropout)
    every = ((name, m) for root in roots for name, m in root.named_modules())
    return [[name, float(m.p)] for name, m in every if isinstance(m, kinds) and m.p]


def frozen_share(roots: Iterable[nn.Module]) -> float:
    """The share of the elements of these modules' parameters that require no gradient, 0 to 1."""
    every = {id(p): p for root in roots for p in root.parameters()}.values()
    size = sum(p.numel() for p in every)
    return sum(p.numel() for p in every if not p.requires_grad) / size if size else 0.0
