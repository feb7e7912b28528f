"""Weights out of a file: read without running anything in it, and put into a live model."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from zipfile import BadZipFile

import keras
import numpy as np

from evengrad.adapters.keras import compat
from evengrad.adapters.keras.change.model import LiveModel
from evengrad.adapters.keras.change.optimizer import renewed
from evengrad.adapters.keras.measure.update import unscaled
from evengrad.errors import CannotChangeError

_READ = (".weights.h5", ".keras", ".safetensors")
_SOME = 4


def pretrained(live: LiveModel, file: str, factor: float) -> None:
    """Wherever name and shape agree; layers of which all was matched are frozen, or the matched variables get
    a rate of their own.
    """
    model = live.model
    if not file.endswith(_READ):
        raise CannotChangeError(f"{file} cannot be read in Keras; expected {', '.join(_READ)}.")
    own = _own(model)
    load = _by_name if file.endswith(".safetensors") else _by_place
    try:
        matched = load(model, file, own)
    except (OSError, ValueError, KeyError, ImportError, BadZipFile) as error:
        first = str(error).strip().split("\n", 1)[0]
        raise CannotChangeError(f"{file} cannot be read as weights: {first}") from error
    if not matched:
        raise CannotChangeError(
            f"No tensor of {file} has a name and shape of this model's, which has {_some(list(own))}."
        )
    _train(live, matched, factor, file)
    met, left = ([n for n, v in own.items() if (id(v) in matched) is yes] for yes in (True, False))
    rest = f"; not matched: {_some(left)}" if left else ""
    live.note(f"{len(met)} of {len(own)} tensors matched: {_some(met)}{rest}")


def _own(model: Any) -> dict[str, Any]:
    prefix = f"{model.name}/"
    return {v.path.removeprefix(prefix): v for v in model.weights}


def _by_name(_model: Any, file: str, own: dict[str, Any]) -> set[int]:
    """With or without the name of the model that was saved."""
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    try:
        found = load_file(file)
    except SafetensorError as error:
        raise ValueError(str(error)) from error
    slashed = {name.replace(".", "/"): value for name, value in found.items()}
    slashed = {name.partition("/")[2]: value for name, value in slashed.items()} | slashed
    matched = set()
    for name, variable in own.items():
        value = slashed.get(name)
        if value is not None and tuple(variable.shape) == value.shape:
            variable.assign(value)
            matched.add(id(variable))
    return matched


def _by_place(model: Any, file: str, own: dict[str, Any]) -> set[int]:
    """By Keras itself, which finds a layer by its place in the model; the optimizer stays as it is."""
    optimizer = [(v, np.array(keras.ops.convert_to_numpy(v))) for v in model.optimizer.variables]
    with _assigned() as assigned, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model.load_weights(file, skip_mismatch=True)
    for variable, value in optimizer:
        variable.assign(value)
    return assigned & {id(v) for v in own.values()}


@contextmanager
def _assigned() -> Iterator[set[int]]:
    """The ids of the variables that are assigned meanwhile."""
    found: set[int] = set()
    owner = next(c for c in compat.Variable.__mro__ if "assign" in c.__dict__)
    original = owner.assign

    def assign(self: Any, value: Any) -> Any:
        result = original(self, value)
        found.add(id(self))
        return result

    owner.assign = assign
    try:
        yield found
    finally:
        owner.assign = original


def _train(live: LiveModel, matched: set[int], factor: float, file: str) -> None:
    model = live.model
    if factor != 0:
        live.slower = ([v for v in model.trainable_variables if id(v) in matched], factor)
        return
    whole = [
        layer
        for layer in compat.layers_of(model, include_self=False)
        if layer.weights and all(id(v) in matched for v in layer.weights)
    ]
    frozen = {id(v) for layer in whole for v in layer.weights}
    if all(id(v) in frozen for v in model.trainable_variables):
        raise CannotChangeError(f"All weights are in {file}; frozen, none would be left.")
    for layer in whole:
        layer.trainable = False
    renewed(model)


def slow(model: Any, variables: list[Any], factor: float) -> None:
    """Each update of these variables is ``factor`` of what it would be, as if the rate were: an optimizer's
    move, its weight decay included, is proportional to its rate.
    """
    if not variables or factor == 1:
        return
    optimizer = unscaled(model.optimizer)
    if optimizer.use_ema:
        raise CannotChangeError("An optimizer that averages weights has one rate for all of them.")
    update = getattr(optimizer, compat.UPDATE, None)
    if update is None:
        raise CannotChangeError("This Keras has no place to move some weights more slowly.")

    def slower(grads: Any, trained: Any) -> Any:
        before = [keras.ops.stop_gradient(v.value) * 1 for v in variables]
        result = update(grads, trained)
        for v, then in zip(variables, before, strict=True):
            v.assign(then + (keras.ops.stop_gradient(v.value) - then) * factor)
        return result

    optimizer.__dict__[compat.UPDATE] = slower


def _some(names: list[str]) -> str:
    if len(names) <= _SOME:
        return ", ".join(names)
    return f"{', '.join(names[:_SOME])} and {len(names) - _SOME} more"
