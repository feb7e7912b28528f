"""What is watched of a Keras model, and its black box, as values."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from evengrad.adapters.keras import compat
from evengrad.adapters.keras.spec.specify import model_name, versions
from evengrad.adapters.keras.tap.holders import Holders
from evengrad.adapters.keras.tap.origin import arrays_of
from evengrad.adapters.keras.trace.weights import fan_in, names_of, trainables
from evengrad.recording import clip
from evengrad.recording.blackbox import BlackBox, Origin
from evengrad.recording.settings import Settings
from evengrad.values.run import EventKind, Floats, Step, Subject, Tensor


def watched_variables(model: Any, optimizer: Any) -> list[Any]:
    """What the optimizer trains, in the model's order; float variables only."""
    own = {id(v) for v in compat.trained_by(optimizer)}
    return [v for v in model.trainable_variables if id(v) in own or not own]


def subject_of(
    model: Any, optimizer: Any, variables: Sequence[Any], settings: Settings, script: str
) -> Subject:
    """The run's subject. model: or Holders."""
    names = names_of(model, list(variables))
    held = isinstance(model, Holders)
    layers = model.layer_of() if held else {id(v): layer for v, layer in trainables(model)}

    def tensor(variable: Any) -> Tensor:
        name = names[id(variable)]
        layer = layers.get(id(variable))
        width = None if layer is None else fan_in(variable, layer)
        return Tensor(name, name.rpartition("/")[0] or name, tuple(variable.shape), width)

    guard = settings.guard
    backend: Any = keras.backend.backend()
    return Subject(
        script=script,
        model=model.shown if held else model_name(model),
        optimizer=type(optimizer).__name__,
        frontend="keras",
        backend=backend,
        versions=tuple(versions()),
        tensors=tuple(map(tensor, variables)),
        settings={
            **clip.as_settings(settings.clip),
            "guard": None if guard is None else str(guard.action),
            "every": settings.every,
            "beta2": getattr(optimizer, "beta_2", getattr(optimizer, "rho", None)),
        },
    )


def box_of(
    model: Any,
    optimizer: Any,
    tensors: Sequence[Tensor],
    step: Step,
    norms: Floats,
    kind: EventKind,
    batch: Any,
    found: Origin | None,
) -> BlackBox:
    """The black box of a step; each variable must have its value."""
    variables = list({id(v): v for v in model.variables}.values())
    names = names_of(model, variables)
    weights = {names[id(v)]: _array(v) for v in variables}
    noise = {name: value for name, value in weights.items() if "seed_generator" in name}
    return BlackBox(
        step=step.step,
        kind=str(kind),
        batch=arrays_of(batch),
        weights={name: value for name, value in weights.items() if name not in noise},
        optimizer=_optimizer_state(optimizer, names),
        noise=noise,
        gradients={t.name: float(n) for t, n in zip(tensors, norms, strict=True)},
        origin=found,
        facts={
            "loss": step.loss,
            "rate": step.rate,
            "framework": "keras",
            "backend": keras.backend.backend(),
            "models": [model.shown if isinstance(model, Holders) else type(model).__name__],
            "training": [True],
        },
    )


def _optimizer_state(optimizer: Any, names: dict[int, str]) -> dict[str, Any]:
    """By "weight/slot" where the optimizer keeps a list along its weights, else by their own paths."""
    trained = compat.trained_by(optimizer)
    found, taken = {}, set()
    for slot, values in compat.slots(optimizer).items():
        for variable, value in zip(trained, values, strict=True):
            if isinstance(value, compat.Variable):
                found[f"{names.get(id(variable), variable.path)}/{slot}"] = _array(value)
                taken.add(id(value))
    found |= {v.path: _array(v) for v in optimizer.variables if id(v) not in taken}
    return found


def _array(variable: Any) -> Any:
    return np.array(ops.convert_to_numpy(variable))


def dropout_rates(model: Any) -> list[list[Any]]:
    """Of a model's dropout layers, each with its name; those that drop nothing are left out."""
    kinds = (keras.layers.Dropout, keras.layers.SpatialDropout1D, keras.layers.SpatialDropout2D)
    own = [layer for layer in compat.layers_of(model) if isinstance(layer, kinds)]
    return [[layer.name, float(layer.rate)] for layer in own if layer.rate]


def frozen_share(model: Any) -> float:
    """The share of the elements of a model's weights whose layer is not to be trained, 0 to 1. What no layer
    ever trains, such as moving statistics, does not count.
    """
    frozen = {
        id(v) for layer in compat.layers_of(model) for v in layer.weights if not layer.trainable
    }
    frozen -= {id(v) for v in model.trainable_variables}
    size = sum(math.prod(v.shape) for v in model.trainable_variables)
    still = sum(math.prod(v.shape) for v in model.weights if id(v) in frozen)
    return still / (still + size) if still + size else 0.0
