"""``evengrad.check`` for a ``torch.nn.Module``."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from evengrad.adapters.torch.compat import eagerly, tree_leaves, tree_map
from evengrad.adapters.torch.measure.measure import Measurement
from evengrad.adapters.torch.measure.rate import with_rate
from evengrad.adapters.torch.measure.update import ComingUpdate, coming_update, describe
from evengrad.adapters.torch.record.record import Recorder
from evengrad.adapters.torch.record.state import untouched
from evengrad.errors import CannotCheckError
from evengrad.recording import failure
from evengrad.values.message import msg
from evengrad.values.probe import Probe
from evengrad.values.wording import brief


def probe(
    model: Any,
    *,
    loss: Any,
    batch: Any,
    optimizer: Any = None,
    rate: bool = False,
    precise: bool = False,
) -> Probe:
    """Measure a model on one batch in training mode; nothing of it is changed.

    Args:
        model: a ``torch.nn.Module``.
        loss: a callable, ``loss(output, y)``.
        batch: (x, y); x is a tensor, a tuple of positional arguments or a dict of keyword arguments.
        optimizer: the training's own; None where there is none.
        rate: also measure the largest stable learning rate along the coming update, in at most 10 forward
            passes.
        precise: from the largest eigenvalue of the Hessian.

    Returns:
        What was measured.

    Raises:
        CannotCheckError: there is nothing to measure.
    """
    if not callable(loss):
        raise CannotCheckError(
            msg(
                "Expected loss=, a callable such as torch.nn.CrossEntropyLoss() taking (output, target), "
                "got {loss!r}.",
                loss=loss,
            )
        )
    x, y = _batch(model, batch)
    recorder = Recorder()
    with untouched(model), eagerly(), torch.enable_grad():
        model.train()
        recorder.enter()
        try:
            value = loss(_forward(model, x), y)
        finally:
            recorder.leave()
        expect_loss(value)
        measurement = Measurement(recorder, value, model)
        fault = recorder.fault(measurement.nodes)
        if fault is not None:
            raise fault.with_traceback(failure.inside(fault.__traceback__, probe))
        measurement.run()
        coming, notes = _updates(optimizer, measurement)
        described = None if optimizer is None else describe(optimizer)
        found = measurement.assemble(coming.rms, described, notes)
        if optimizer is None or not rate:
            return found
        totals = {key: measurement.total_gradient(key) for key in measurement.names}
        measurement.let_go()
        del value

        def again() -> Any:
            return loss(_forward(model, x), y)

        return with_rate(found, optimizer, totals, again, precise, coming)


def expect_loss(value: Any) -> None:
    """Refuse what cannot be differentiated, with the way out."""
    if not isinstance(value, torch.Tensor) or value.numel() != 1:
        came = tuple(value.shape) if isinstance(value, torch.Tensor) else type(value).__name__
        raise CannotCheckError(
            msg(
                "Expected the loss to be a scalar tensor, got {came}. "
                'Average it: reduction="mean", or loss.mean().',
                came=came,
            )
        )
    if not value.requires_grad:
        raise CannotCheckError(
            msg(
                "The loss does not depend on any trainable parameter: all of them are frozen, or the output "
                "was detached (.detach(), .item(), .numpy(), torch.no_grad()) on its way to the loss."
            )
        )


def _batch(model: Any, batch: Any) -> tuple[Any, Any]:
    if len(batch) != 2:
        raise CannotCheckError(
            msg("Expected batch=(inputs, targets), a pair, got {number}.", number=len(batch))
        )
    parameter = next(model.parameters(), None)
    if parameter is None or not any(p.requires_grad for p in model.parameters()):
        raise CannotCheckError(
            msg(
                "Expected a model with trainable parameters, but it has none. "
                "Unfreeze at least one: `parameter.requires_grad_(True)`."
            )
        )

    def ready(value: Any) -> Any:
        if isinstance(value, np.ndarray):
            value = torch.from_numpy(np.ascontiguousarray(value))
            if value.is_floating_point():
                value = value.to(parameter.dtype)
        return value.to(parameter.device) if isinstance(value, torch.Tensor) else value

    x, y = tree_map(ready, batch[0]), tree_map(ready, batch[1])
    if _size(x) == 0:
        raise CannotCheckError(msg("Expected a batch with at least one sample, got an empty one."))
    return x, y


def _size(x: Any) -> int:
    first = next((t for t in tree_leaves(x) if isinstance(t, torch.Tensor)), None)
    return 0 if first is None or first.numel() == 0 else int(first.shape[0]) if first.ndim else 1


def _forward(model: Any, x: Any) -> Any:
    if isinstance(x, dict):
        return model(**x)
    return model(*x) if isinstance(x, tuple | list) else model(x)


def _updates(optimizer: Any, measurement: Measurement) -> tuple[ComingUpdate, tuple[str, ...]]:
    if optimizer is None:
        return ComingUpdate(), ()
    totals = {key: measurement.total_gradient(key) for key in measurement.names}
    try:
        return coming_update(optimizer, totals), ()
    except Exception as error:
        return ComingUpdate(), (
            msg("the coming update could not be worked out: {brief}", brief=brief(error)),
        )
