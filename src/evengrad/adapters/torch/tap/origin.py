"""Sees a bad step again: the kept forward pass, and the backward pass from the model's own outputs."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import replace
from typing import Any

import torch

from evengrad.adapters.common.origin import by_gradients, origin_of, replayed
from evengrad.adapters.torch.compat import eagerly
from evengrad.adapters.torch.measure.measure import Measurement
from evengrad.adapters.torch.record.record import Recorder
from evengrad.adapters.torch.record.state import untouched
from evengrad.adapters.torch.sharding.pieces import needs_others
from evengrad.adapters.torch.tap.capture import ForwardCall, arrays_of, outputs_of
from evengrad.adapters.torch.tap.reading import non_finite
from evengrad.recording.blackbox import Origin
from evengrad.values.probe import Probe
from evengrad.values.run import Floats, Tensor
from evengrad.values.wording import percent


def find(
    calls: Sequence[ForwardCall],
    parameters: Mapping[str, Any],
    tensors: Sequence[Tensor],
    norms: Floats,
    loss: float,
) -> Origin:
    """Where the step went wrong first. Nothing of the model changes.

    Args:
        calls: the forward passes of the step.
        parameters: by name, those of ``tensors`` in their order.
        tensors: the trained ones.
        norms: of their gradients, (tensors,).
        loss: NaN where it is not known.

    Returns:
        The batch, the weights, or the operation of the forward or the backward pass.
    """
    probes = [probe for call in calls if (probe := _probe(call, loss)) is not None]
    for probe in probes:
        if (found := origin_of(probe)) is not None:
            return found
    operations = replayed(probes[-1]) if probes else ()
    if len(probes) < len(calls) and (given := _given(calls, tensors, parameters)) is not None:
        return given
    if math.isinf(loss) or (math.isnan(loss) and _silent(calls)):
        what = "the model's outputs are finite, and the loss is not"
        return Origin("loss", "forward", what, operations)
    return by_gradients(tensors, norms, operations)


def _probe(call: ForwardCall, loss: float) -> Probe | None:
    """One forward pass again, and back from what came back to its outputs then.

    None for a model that cannot be called again, and for a sharded one: its forward pass wants every process,
    and not all of them see the step again.
    """
    if needs_others(call.module):
        return None
    recorder = Recorder()
    state = torch.get_rng_state()
    cast = nullcontext() if call.autocast is None else torch.autocast(_device(call), call.autocast)
    try:
        with untouched(call.module), eagerly(), torch.enable_grad(), cast:
            call.module.train(call.training)
            torch.set_rng_state(call.noise)
            recorder.enter()
            try:
                outputs = outputs_of(call.module(*call.args, **call.kwargs))
                stand_in = _loss(outputs, call)
            finally:
                recorder.leave()
                torch.set_rng_state(state)
            measurement = Measurement(recorder, stand_in, call.module)
            measurement.run()
        found = measurement.assemble({}, None, ())
    except Exception:
        return None
    inside = {node.name for node in measurement.nodes if node.inside}
    return replace(
        found,
        operations=tuple(op for op in found.operations if op.name in inside),
        loss=replace(found.loss, name="loss", value=loss, targets=None),
    )


def _loss(outputs: list[Any], call: ForwardCall) -> Any:
    """A scalar whose gradients at the outputs are those that came back to them then."""
    parts = [
        (output * call.gradients.get(place, torch.zeros_like(output))).sum()
        for place, output in enumerate(outputs)
        if output.requires_grad
    ]
    return torch.stack(parts).sum()


def _given(
    calls: Sequence[ForwardCall], tensors: Sequence[Tensor], parameters: Mapping[str, Any]
) -> Origin | None:
    """What is not finite in the batch or the weights themselves."""
    for call in calls:
        for name, value in arrays_of(call).items():
            given = value.is_floating_point() and not name.startswith("output_gradient")
            if given and (bad := non_finite(value)):
                share = percent(bad / value.numel())
                what = f"the batch itself is not finite: {share} of {name}"
                return Origin("input", "batch", what)
    for tensor, parameter in zip(tensors, parameters.values(), strict=True):
        if non_finite(parameter):
            what = f"the weights {tensor.name} hold values that are not finite"
            return Origin(tensor.layer, "weights", what)
    return None


def _silent(calls: Sequence[ForwardCall]) -> bool:
    """Whether the loss sent something that is not finite back into the model."""
    return any(non_finite(g) for call in calls for g in call.gradients.values())


def _device(call: ForwardCall) -> str:
    parameter = next(call.module.parameters(), None)
    return "cpu" if parameter is None else str(parameter.device.type)
