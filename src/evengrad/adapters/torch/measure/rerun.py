"""The script's own first forward pass and loss, run again with the weights as they are now."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch.nn.parallel import DistributedDataParallel

from evengrad.adapters.torch.compat import tree_leaves, tree_map
from evengrad.adapters.torch.record.graph import MadeBefore, RecordedCall
from evengrad.adapters.torch.record.record import Recorder
from evengrad.adapters.torch.record.roots import tensors_of
from evengrad.adapters.torch.record.state import untouched

_CLOSE = 1e-4


class CannotRerunError(Exception):
    """Why the script's loss could not be worked out again."""


def rerun(
    recorder: Recorder, nodes: list[RecordedCall], loss: Any
) -> tuple[Any, Callable[[], Any]]:
    """The model, and a function that gives the loss of the same batch, with the same noise, for its
    present weights. Buffers and flags of the model are not put back.

    nodes: on the path to the loss. What the model is is called again; what the script did with its output
    is repeated call by call. Raises CannotRerunError where that does not give the loss that it had.
    """
    calls = recorder.modules.root_calls
    if len(calls) != 1:
        raise CannotRerunError(f"the step calls {len(calls)} models")
    call = calls[0]
    model = call.module
    if isinstance(model, DistributedDataParallel):
        model = model.module  # the other processes do not go along
    tail = [node for node in nodes if not node.inside]
    if any(node.tail is None for node in tail):
        raise CannotRerunError("a call on the way to the loss writes in place")
    wanted = recorder.number(loss)

    def again() -> Any:
        state = torch.get_rng_state()
        torch.set_rng_state(call.noise)
        with recorder.paused():
            model.train(call.training)
            found = dict(zip(call.returned, _floats(model(*call.args, **call.kwargs)), strict=True))
            for node in tail:
                _repeat(node, found, recorder)
        torch.set_rng_state(state)
        return found[wanted] / recorder.scale

    was = float(loss.detach()) / recorder.scale
    with torch.no_grad(), untouched(model):
        now = float(again())
    if not math.isclose(was, now, rel_tol=_CLOSE, abs_tol=1e-7):
        raise CannotRerunError(f"run again, its loss is {now:.6g} and not {was:.6g}")
    return model, again


def _repeat(node: RecordedCall, found: dict[Any, Any], recorder: Recorder) -> None:
    function, args, kwargs = node.tail

    def fill(value: Any) -> Any:
        if isinstance(value, MadeBefore):
            return found[value.number]
        number = recorder.number(value)
        if number is not None and number in found:
            return found[number]
        made = isinstance(value, torch.Tensor) and not value.is_leaf
        return value.detach() if made else value  # a penalty on the weights: stands still

    result = function(*tree_map(fill, args), **tree_map(fill, kwargs))
    outputs = [t for t in tree_leaves(result) if isinstance(t, torch.Tensor)]
    found.update(zip(node.makes, outputs, strict=False))


def _floats(result: Any) -> list[Any]:
    return [t for t in tensors_of(result) if isinstance(t, torch.Tensor)]
