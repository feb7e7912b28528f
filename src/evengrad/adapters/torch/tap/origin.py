"""Sees a bad step again: the kept forward pass, and the backward pass from the model's own outputs."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from typing import Any

import torch

from evengrad.adapters.torch.compat import eagerly
from evengrad.adapters.torch.record.graph import RecordedCall
from evengrad.adapters.torch.record.naming import assign, prefixes
from evengrad.adapters.torch.record.record import Recorder
from evengrad.adapters.torch.record.state import untouched
from evengrad.adapters.torch.tap.capture import ForwardCall, arrays_of, outputs_of
from evengrad.adapters.torch.tap.reading import non_finite
from evengrad.recording.blackbox import Origin, ReplayedOperation
from evengrad.values.run import Floats, Tensor
from evengrad.values.wording import percent


def find(
    calls: Sequence[ForwardCall],
    parameters: Mapping[str, Any],
    tensors: Sequence[Tensor],
    norms: Floats,
    loss: float,
) -> Origin:
    """Where the step went wrong first: in the batch, the weights, the forward or the backward pass.

    parameters: by name, those of ``tensors`` in their order. norms: of their gradients. loss: NaN where it is
    not known. Nothing of the model changes.
    """
    for call in calls:
        for name, value in arrays_of(call).items():
            if (
                value.is_floating_point()
                and not name.startswith("output_gradient")
                and (bad := non_finite(value))
            ):
                what = f"{bad:,} of {value.numel():,} values of {name}"
                return Origin("input", "batch", f"The batch itself is not finite: {what}.")
    for tensor, parameter in zip(tensors, parameters.values(), strict=True):
        if bad := non_finite(parameter):
            share = percent(bad / parameter.numel())
            return Origin(
                tensor.layer, "weights", f"{share} of the weights {tensor.name} are not finite."
            )
    operations: tuple[ReplayedOperation, ...] = ()
    for call in calls:
        if _sharded(call.module):  # its forward pass wants every process, and not all need look
            continue
        try:
            found, operations = _again(call)
        except Exception:  # a model that cannot be called again; its gradients still tell something
            continue
        if found is not None:
            return Origin(found.layer, found.phase, found.message, operations)
    if math.isinf(loss) or (math.isnan(loss) and _silent(calls)):
        return Origin(
            "loss", "forward", "The model's outputs are finite, and the loss is not.", operations
        )
    return _by_gradients(tensors, norms, operations)


def _sharded(module: Any) -> bool:
    return any(hasattr(parameter, "full_tensor") for parameter in module.parameters())


def _silent(calls: Sequence[ForwardCall]) -> bool:
    """Whether the loss sent something that is not finite back into the model."""
    return any(non_finite(g) for call in calls for g in call.gradients.values())


def _again(call: ForwardCall) -> tuple[Origin | None, tuple[ReplayedOperation, ...]]:
    """Run one forward pass again, and back from what came back to its outputs then."""
    recorder = Recorder()
    state = torch.get_rng_state()
    cast = nullcontext() if call.autocast is None else torch.autocast(_device(call), call.autocast)
    with untouched(call.module), eagerly(), torch.enable_grad(), cast:
        call.module.train(call.training)
        torch.set_rng_state(call.noise)
        recorder.enter()
        try:
            outputs = outputs_of(call.module(*call.args, **call.kwargs))
        finally:
            recorder.leave()
            torch.set_rng_state(state)
        nodes = recorder.nodes
        assign(nodes, prefixes([call.module]))
        if any(node.forward is not None and node.forward.non_finite for node in nodes):
            return _forward(nodes), _operations(nodes)
        _backward_pass(recorder, outputs, call)
    return _backward(nodes, call), _operations(nodes)


def _backward_pass(recorder: Recorder, outputs: list[Any], call: ForwardCall) -> None:
    ends = [(outputs[i], g) for i, g in call.gradients.items() if i < len(outputs)]
    if not ends:
        return
    readers: dict[int, int] = {}
    for node in recorder.nodes:
        for number in node.reads:
            readers[number] = readers.get(number, 0) + 1
    recorder.readers = readers
    leaves = [p for p in call.module.parameters() if p.requires_grad]
    recorder.measuring = True
    try:
        torch.autograd.grad(
            [o for o, _ in ends], leaves, grad_outputs=[g for _, g in ends], allow_unused=True
        )
    finally:
        recorder.measuring = False


def _forward(nodes: list[RecordedCall]) -> Origin:
    first = next(n for n in nodes if n.forward is not None and n.forward.non_finite)
    assert first.forward is not None
    share = percent(first.forward.non_finite)
    return Origin(
        first.layer,
        "forward",
        f"{first.layer} ({first.type}) makes {share} of its output NaN or inf.",
    )


def _backward(nodes: list[RecordedCall], call: ForwardCall) -> Origin | None:
    if any(non_finite(g) for g in call.gradients.values()):
        return Origin(
            "loss", "backward", "The loss sends a gradient that is not finite into the model."
        )
    for node in reversed(nodes):
        made = [s.non_finite for s in node.above.values()]
        below = [norm for norm in node.below.values() if not math.isfinite(norm)]
        if made and not any(made) and (below or _upstream_bad(node, nodes)):
            return Origin(
                node.layer,
                "backward",
                f"The gradient turns NaN or inf in {node.layer} ({node.type}), going backwards.",
            )
    return None


def _upstream_bad(node: RecordedCall, nodes: list[RecordedCall]) -> bool:
    """Whether the gradient of what this call reads is bad, and no other reader of it has a bad one."""
    for number in node.reads:
        makers = [n for n in nodes if number in n.makes]
        readers = [n for n in nodes if number in n.reads]
        if makers and len(readers) == 1:
            slot = makers[0].makes.index(number)
            summary = makers[0].above.get(slot)
            if summary is not None and summary.non_finite:
                return True
    return False


def _by_gradients(
    tensors: Sequence[Tensor], norms: Floats, operations: tuple[ReplayedOperation, ...]
) -> Origin:
    """Seen again everything is finite: the bad gradient that is nearest to the output."""
    bad = [t for t, norm in zip(tensors, norms, strict=True) if not math.isfinite(norm)]
    if not bad:
        worst = tensors[int(norms.argmax())]
        text = f"The largest gradient is that of {worst.name}: norm {norms.max():.3g}."
        return Origin(worst.layer, "backward", text, operations)
    names = f"{bad[-1].name}" + (f" and {len(bad) - 1} more" if len(bad) > 1 else "")
    text = (
        f"Seen again, the model gives finite values; what is not finite is the gradient of {names}."
    )
    return Origin(bad[-1].layer, "backward", text, operations)


def _operations(nodes: list[RecordedCall]) -> tuple[ReplayedOperation, ...]:
    found = []
    for node in nodes:
        if node.forward is None:
            continue
        above = list(node.above.values())
        found.append(
            ReplayedOperation(
                node.layer,
                node.type,
                node.forward.rms,
                node.forward.non_finite,
                above[0].rms if above else None,
                max((s.non_finite for s in above), default=0.0),
            )
        )
    return tuple(found)


def _device(call: ForwardCall) -> str:
    parameter = next(call.module.parameters(), None)
    return "cpu" if parameter is None else str(parameter.device.type)
