"""The last training batch once more when the script is over: in training mode, and in evaluation mode."""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

from evengrad.adapters.torch.record.state import untouched
from evengrad.adapters.torch.sharding.pieces import needs_others
from evengrad.adapters.torch.tap.capture import Capture, ForwardCall
from evengrad.values.fact import Fact

log = logging.getLogger("evengrad")
_BETWEEN: dict[str, Callable[[Any], Any]] = {
    "nothing": lambda values: values,
    "log_softmax": lambda values: F.log_softmax(values, -1),
    "sigmoid": torch.sigmoid,
    "softmax": lambda values: F.softmax(values, -1),
    "turned": lambda values: values.movedim(-1, 1),
}
"""What stands between a model's output and its loss, as far as it is known again by its values."""
_DROPOUTS = (nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d, nn.AlphaDropout)


@dataclass(slots=True)
class LossOfOutput:
    """How a loss function was called on a model's output.

    Attributes:
        original: the function.
        between: see ``_BETWEEN``.
        shape: of what it was given, without the batch.
        given: the rest of its arguments, of the last call; its targets among them.
    """

    original: Any
    between: str
    shape: tuple[int, ...]
    given: dict[str, Any]

    def of(self, output: Any) -> float:
        """The loss of another output."""
        values = _BETWEEN[self.between](output)
        return float(self.original(**self.given, input=values.reshape(-1, *self.shape)))


def loss_of_output(original: Any, given: dict[str, Any], call: ForwardCall) -> LossOfOutput | None:
    """How that loss came of that forward pass; None where it is not plain to see."""
    output, values = call.output, given["input"]
    if output is None or output.numel() != values.numel() or not values.ndim:
        return None
    for name, function in _BETWEEN.items():
        if name in ("turned", "softmax") and output.ndim < 2:
            continue
        found = function(output).reshape(values.shape)
        if torch.allclose(found.float(), values.detach().float(), rtol=1e-4, atol=1e-5):
            rest = {k: v for k, v in given.items() if k != "input"}
            return LossOfOutput(original, name, tuple(values.shape[1:]), rest)
    return None


def evaluated(capture: Capture, loss: LossOfOutput, steps: int) -> Fact | None:
    """The losses of the last batch in both modes, as a fact; nothing of the model changes. None where the modes
    do not differ, or the batch cannot be seen again.
    """
    call = capture.last
    if call is None or not call.training or not _differs(call.module):
        return None
    try:
        with untouched(call.module), torch.no_grad(), _cast(call):
            found = [_loss(call, loss, training) for training in (True, False)]
    except Exception as error:  # a model or a batch that is not what it was
        log.info("the last batch could not be evaluated: %s", error)
        return None
    return Fact("evaluation_apart", None, None, _values(call.module, found, steps))


def _loss(call: ForwardCall, loss: LossOfOutput, training: bool) -> float:
    call.module.train(training)
    torch.set_rng_state(call.noise)
    return loss.of(call.module(*call.args, **call.kwargs))


def _cast(call: ForwardCall) -> Any:
    if call.autocast is None:
        return nullcontext()
    parameter = next(call.module.parameters(), None)
    device = "cpu" if parameter is None else str(parameter.device.type)
    return torch.autocast(device, call.autocast)


def _differs(module: Any) -> bool:
    if needs_others(module):
        return False
    return any(
        getattr(m, "running_mean", None) is not None or isinstance(m, _DROPOUTS)
        for m in module.modules()
    )


def _values(module: Any, found: list[float], steps: int) -> dict[str, Any]:
    norms = [
        (n, m) for n, m in module.named_modules() if getattr(m, "running_mean", None) is not None
    ]
    momenta = [m.momentum for _, m in norms if m.momentum is not None]
    return {
        "training": found[0],
        "evaluation": found[1],
        "steps": steps,
        "layers": [name for name, _ in norms],
        "kind": type(norms[0][1]).__name__ if norms else "Dropout",
        "momentum": min(momenta) if momenta else None,
    }
