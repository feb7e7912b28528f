"""Steps into the user's own script at its first ``Model.fit`` or ``train_on_batch``."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Callable
from functools import wraps
from typing import Any

import keras
from keras.src.optimizers.base_optimizer import BaseOptimizer as _Optimizer
from keras.src.trainers.data_adapters import array_slicing, data_adapter_utils
from keras.src.trainers.epoch_iterator import EpochIterator

from evengrad.adapters.common.sessions import Armed, Session
from evengrad.adapters.keras.measure.update import is_copy
from evengrad.adapters.keras.probe import probe
from evengrad.errors import CannotCheckError, EvengradError


def arm(session: Session) -> Armed:
    """Wrap ``keras.Model.fit`` and ``train_on_batch``; each model's first batch is probed there."""
    armed = {"fit": _fit_batch, "train_on_batch": _single_batch}
    for name, first_batch in armed.items():
        setattr(keras.Model, name, _stepping_in(session, getattr(keras.Model, name), first_batch))
    updates = {name: getattr(_Optimizer, name) for name in _own_loops()}
    for name, original in updates.items():
        setattr(_Optimizer, name, _refusing(session, original))

    def disarm() -> None:
        for name in armed:
            if hasattr(keras.Model.__dict__.get(name), "__wrapped__"):
                delattr(keras.Model, name)
        for name, original in updates.items():
            setattr(_Optimizer, name, original)

    return Armed(disarm=disarm, flush=lambda: None)


def _own_loops() -> tuple[str, ...]:
    """What a loop of the script's own calls to update; on PyTorch the torch adapter sees such loops."""
    return () if keras.backend.backend() == "torch" else ("apply", "stateless_apply")


def _refusing(session: Session, original: Any) -> Any:
    @wraps(original)
    def refuse(optimizer: Any, *args: Any, **kwargs: Any) -> Any:
        if is_copy(optimizer):
            return original(optimizer, *args, **kwargs)
        session.starting()
        return session.fail(
            CannotCheckError(
                "This script trains in a loop of its own (an optimizer's apply), which hides the model and "
                "its loss. Expected model.fit(...); for such a loop call, in the script and before it, "
                "evengrad.check(model, loss=..., batch=(x, y), optimizer=optimizer)."
            )
        )

    return refuse


def _stepping_in(session: Session, original: Any, first_batch: Callable[..., Any]) -> Any:
    signature = inspect.signature(original)

    @wraps(original)
    def step_in(model: Any, *args: Any, **kwargs: Any) -> Any:
        bound = signature.bind(model, *args, **kwargs)
        bound.apply_defaults()
        session.starting()
        try:
            if not model.compiled:
                raise CannotCheckError(
                    "Expected a compiled model: call model.compile(optimizer=..., loss=...) before "
                    f"model.{original.__name__}()."
                )
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                batch = first_batch(bound.arguments)
            found = probe(model, batch=batch, rate=True, precise=session.precise)
        except EvengradError as error:
            session.fail(error)
        except Exception as error:
            theirs = _own_error(model, bound.arguments, first_batch)
            if theirs is None:
                session.trouble(error)
            session.fail(
                CannotCheckError(
                    f"{type(model).__name__} could not be measured, since it cannot be called on its first "
                    f"batch: {type(theirs).__name__}: {theirs}"
                )
            )
        session.deliver(found)

    return step_in


def _own_error(model: Any, given: dict[str, Any], first_batch: Callable[..., Any]) -> Any:
    """What the script's own forward pass and loss raise on that batch; None where the fault is ours."""
    try:
        x, y, weight = first_batch(given)
        model.compute_loss(x, y, model(x, training=False), weight)
    except Exception as error:
        return error
    return None


def _fit_batch(given: dict[str, Any]) -> Any:
    """The batch that ``fit`` would train on first, through Keras' own data adapters."""
    x, y, weight = given["x"], given["y"], given["sample_weight"]
    if given["validation_split"] and given["validation_data"] is None:
        (x, y, weight), _ = array_slicing.train_validation_split(
            (x, y, weight), validation_split=given["validation_split"]
        )
    batches = EpochIterator(
        x=x,
        y=y,
        sample_weight=weight,
        batch_size=given["batch_size"],
        steps_per_epoch=given["steps_per_epoch"],
        shuffle=given["shuffle"],
        class_weight=given["class_weight"],
    )
    for _, _, found in batches:
        return data_adapter_utils.unpack_x_y_sample_weight(found[0])
    raise CannotCheckError("The training data is empty: fit() got no batch out of it.")


def _single_batch(given: dict[str, Any]) -> Any:
    x, y, weight = given["x"], given["y"], given["sample_weight"]
    if given.get("class_weight") is not None:
        weight = data_adapter_utils.class_weight_to_sample_weights(y, given["class_weight"])
    return x, y, weight
