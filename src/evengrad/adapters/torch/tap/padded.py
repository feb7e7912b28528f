"""The last training batch once more when the script is over: is it padding that an LSTM's last step reads?"""

from __future__ import annotations

import logging
from typing import Any

import torch
from torch import nn

from evengrad.adapters.torch.record.state import untouched
from evengrad.adapters.torch.tap.capture import Capture, ForwardCall, outputs_of
from evengrad.adapters.torch.tap.evaluation import LossOfOutput
from evengrad.values.fact import Fact

log = logging.getLogger("evengrad")
_STEPS = 4
"""Equal steps at a sequence's end from which they are padding."""
_MOST = 0.5  # of the sequences


def padded(capture: Capture, loss: LossOfOutput) -> Fact | None:
    """The recurrent module of which the model takes the last step alone, behind a long padding; nothing of the
    model changes. None where there is none.
    """
    call = capture.last
    if call is None or not any(isinstance(m, nn.RNNBase) for m in call.module.modules()):
        return None
    try:
        with untouched(call.module), torch.enable_grad():
            return _found(call, loss)
    except Exception as error:  # a model or a batch that is not what it was
        log.info("whether padding is read is not known: %s", error)
        return None


def _found(call: ForwardCall, loss: LossOfOutput) -> Fact | None:
    seen: list[tuple[Any, Any, Any]] = []

    def hook(module: Any, args: Any, output: Any) -> None:
        if args and isinstance(args[0], torch.Tensor) and isinstance(output[0], torch.Tensor):
            seen.append((module, args[0].detach(), output[0]))

    hooks = [
        m.register_forward_hook(hook) for m in call.module.modules() if isinstance(m, nn.RNNBase)
    ]
    try:
        call.module.eval()
        torch.set_rng_state(call.noise)
        output = call.module(*call.args, **call.kwargs)
    finally:
        for one in hooks:
            one.remove()
    answers = outputs_of(output)[0]
    for module, given, made in reversed(seen):
        if given.ndim != 3 or not made.requires_grad:
            continue
        (slope,) = torch.autograd.grad(
            answers.float().sum(), made, retain_graph=True, allow_unused=True
        )
        axis = 1 if module.batch_first else 0
        steps = int(given.shape[axis])
        if slope is not None and bool(slope.narrow(axis, 0, steps - 1).any()):
            continue  # other steps are read, too
        lengths = _padding(given.movedim(axis, 1))
        if float((lengths >= _STEPS).float().mean()) < _MOST:
            continue
        names = {m: name for name, m in call.module.named_modules()}
        values = {
            "module": names.get(module, ""),
            "kind": type(module).__name__,
            "steps": steps,
            "padding": float(lengths.float().mean()),
            "loss": loss.of(answers.detach()),
        }
        return Fact("padding_read", None, None, values)
    return None


def _padding(values: Any) -> Any:
    """How many steps at the end of each sequence are equal to its last one, where there are several."""
    same = (values == values[:, -1:]).flatten(2).all(2)
    lengths = same.flip(1).long().cumprod(1).sum(1)
    return torch.where(lengths > 1, lengths, 0)
