"""Weights out of a file: read without running anything in it, and put into a live model."""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from evengrad.adapters.torch.change.model import LiveTraining
from evengrad.adapters.torch.compat import SCHEDULE_RATES
from evengrad.errors import CannotChangeError

_WITHIN = ("state_dict", "model")
_PER_GROUP = (*SCHEDULE_RATES, "lr_lambdas", "min_lrs", "max_lrs")
_SOME = 4


def pretrained(live: LiveTraining, file: str, factor: float) -> None:
    """Wherever name and shape agree; the matched parameters are frozen, or get a rate of their own."""
    found = read(file)
    own = live.model.state_dict()
    matched = {
        name: value
        for name, value in found.items()
        if name in own and value.shape == own[name].shape
    }
    if not matched:
        raise CannotChangeError(
            f"No tensor of {file} has a name and shape of this model's; it has {_some(list(found))}, "
            f"and the model {_some(list(own))}."
        )
    live.model.load_state_dict(matched, strict=False)
    trained = [p for name, p in live.model.named_parameters() if name in matched]
    if factor == 0:
        if len(trained) == sum(1 for _ in live.model.parameters()):
            raise CannotChangeError(f"All weights are in {file}; frozen, none would be left.")
        for parameter in trained:
            parameter.requires_grad_(False)
    else:
        _slower(live, {id(p) for p in trained}, factor)
    met, left = ([n for n in own if (n in matched) is yes] for yes in (True, False))
    rest = f"; not matched: {_some(left)}" if left else ""
    live.note(f"{len(met)} of {len(own)} tensors matched: {_some(met)}{rest}")


def read(file: str) -> dict[str, Any]:
    """The tensors of a file by name. Raises CannotChangeError where it is none of weights alone."""
    try:
        found = _load(Path(file))
    except (OSError, ValueError, RuntimeError, ImportError, pickle.UnpicklingError) as error:
        first = str(error).strip().split("\n", 1)[0]
        raise CannotChangeError(f"{file} cannot be read as weights: {first}") from error
    for key in _WITHIN:
        if isinstance(found, Mapping) and isinstance(found.get(key), Mapping):
            found = found[key]
    values = found.items() if isinstance(found, Mapping) else ()
    tensors = {str(name): value for name, value in values if isinstance(value, torch.Tensor)}
    if not tensors:
        raise CannotChangeError(f"{file} has no tensors by name; expected a state_dict.")
    return tensors


def _load(file: Path) -> Any:
    if file.suffix == ".safetensors":
        from safetensors import SafetensorError
        from safetensors.torch import load_file

        try:
            return load_file(file)
        except SafetensorError as error:
            raise ValueError(str(error)) from error
    return torch.load(file, map_location="cpu", weights_only=True)


def _slower(live: LiveTraining, own: set[int], factor: float) -> None:
    """A group with its own rate for the matched parameters of each group, behind all others."""
    optimizer = live.optimizer
    for place, group in enumerate(list(optimizer.param_groups)):
        moved = [p for p in group["params"] if id(p) in own]
        if not moved:
            continue
        group["params"] = [p for p in group["params"] if id(p) not in own]
        rates = {key: group[key] * factor for key in ("lr", "initial_lr") if key in group}
        optimizer.add_param_group({**group, **rates, "params": moved})
        for scheduler in live.schedulers:
            for key in _PER_GROUP:
                values = getattr(scheduler, key, None)
                if isinstance(values, list):
                    slower = key in (*SCHEDULE_RATES, "max_lrs")
                    values.append(values[place] * factor if slower else values[place])


def _some(names: list[str]) -> str:
    if len(names) <= _SOME:
        return ", ".join(names)
    return f"{', '.join(names[:_SOME])} and {len(names) - _SOME} more"
