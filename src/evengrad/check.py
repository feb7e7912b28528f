"""``evengrad.check``: one probe of a live model, judged."""

from __future__ import annotations

import importlib
import sys
from typing import Any

from evengrad.diagnose import Check, diagnose
from evengrad.errors import CannotCheckError
from evengrad.probe import Probe

__all__ = ["Check", "check"]


def check(
    model: Any,
    *,
    batch: Any,
    loss: Any = None,
    optimizer: Any = None,
    rate: bool = True,
    precise: bool = False,
) -> Check:
    """Probe a model on one batch and judge what was measured. Nothing in the model changes.

    model: a ``torch.nn.Module`` or a Keras 3 model on any backend. batch: (inputs, targets), as the
    training would see them; inputs may be a tensor, a list or a dict. loss: a callable, for torch
    ``loss(output, target)``, for Keras a name, a ``keras.losses.Loss`` or None for the compiled one.
    optimizer: the training's own, for the size of the coming update and the largest stable learning
    rate; for Keras None means the compiled one. rate: False saves the 10 forward passes for that rate;
    precise: True takes it from the Hessian's largest eigenvalue. Raises CannotCheckError where there is
    nothing to measure.

    >>> result = evengrad.check(model, loss=nn.CrossEntropyLoss(), batch=(x, y))  # doctest: +SKIP
    >>> result.findings[0].advice  # doctest: +SKIP
    """
    measured: Probe = adapter_of(model, "probe")(
        model, loss=loss, batch=batch, optimizer=optimizer, rate=rate, precise=precise
    )
    return diagnose(measured)


def adapter_of(model: Any, task: str) -> Any:
    """The function of that name ("probe", "describe") of the adapter that knows this model.

    Keras first: on its torch backend a model is both. Raises CannotCheckError.
    """
    for framework, types in (("keras", ("Layer",)), ("torch", ("nn.Module",))):
        module = sys.modules.get(framework)
        if module is not None and any(_is_a(model, module, name) for name in types):
            return getattr(importlib.import_module(f"evengrad.adapters.{framework}.{task}"), task)
    if type(model).__module__.split(".")[0] == "tf_keras":
        raise CannotCheckError(
            "This is a Keras 2 model (tf_keras). evengrad reads Keras 3: build the model with "
            "`import keras` (3.5 or newer), and unset TF_USE_LEGACY_KERAS."
        )
    raise CannotCheckError(
        f"Expected a torch.nn.Module or a Keras 3 model, got {type(model).__qualname__}. "
        "Pass the model itself, not its class, its output or its weights."
    )


def _is_a(model: Any, module: Any, dotted: str) -> bool:
    kind: Any = module
    for part in dotted.split("."):
        kind = getattr(kind, part, None)
    return isinstance(kind, type) and isinstance(model, kind)
