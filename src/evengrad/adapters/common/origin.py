"""Where a NaN or an infinity was born, exactly, from a probe of the step that has it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from evengrad.recording.blackbox import Origin, Phase, ReplayedOperation
from evengrad.values.finding import Cause
from evengrad.values.message import msg
from evengrad.values.probe import Input, Operation, Port, Probe
from evengrad.values.run import Floats, Tensor
from evengrad.values.spec import Kind
from evengrad.values.wording import percent

_REPAIR = msg("drop or repair these rows before training")


@dataclass(frozen=True, slots=True)
class Birth:
    """Where something that is not finite was born.

    Attributes:
        layer: the user's own name.
        phase: of the step.
        cause: why.
        message: what is measured there, one line.
        advice: what to change.
    """

    layer: str
    phase: Phase
    cause: Cause
    message: str
    advice: str


def birth(probe: Probe) -> Birth | None:
    """The first thing that is not finite, with all that it was made of finite: forward before backward.
    None where all is finite.
    """
    filled: set[int] = set()
    for given in probe.inputs:
        if given.value.non_finite:
            holes = _holes(probe, given)
            if holes is None:
                share = percent(given.value.non_finite)
                what = msg(
                    "the batch itself is not finite: {share} of {name}",
                    share=share,
                    name=given.name,
                )
                return Birth(given.name, "batch", Cause.BAD_BATCH, what, _REPAIR)
            filled |= holes
    forward = None if _harmless(probe) else _forward(probe, filled)
    return _given(probe) or forward or _backward(probe) or _penalty(probe)


def origin_of(probe: Probe) -> Origin | None:
    """The same as it stands in a black box, with every operation that was passed."""
    found = birth(probe)
    if found is None:
        return None
    return Origin(found.layer, found.phase, found.message, replayed(probe))


def replayed(probe: Probe) -> tuple[ReplayedOperation, ...]:
    """The operations of a probe as a black box has them."""
    return tuple(
        ReplayedOperation(
            op.layer,
            op.type,
            op.forward.rms,
            op.forward.non_finite,
            op.backward.rms,
            op.backward.non_finite,
        )
        for op in probe.operations
    )


def by_gradients(
    tensors: Sequence[Tensor], norms: Floats, operations: tuple[ReplayedOperation, ...] = ()
) -> Origin:
    """Where a probe does not tell: the bad gradient that is nearest to the loss, else the largest one.

    norms: (tensors,), in the tensors' order, which is the forward one.
    """
    bad = [t for t, norm in zip(tensors, norms, strict=True) if not math.isfinite(norm)]
    if bad:
        what = msg(
            "of {number} gradients that are not finite, that of {name} is nearest to the loss",
            number=len(bad),
            name=bad[-1].name,
        )
        return Origin(bad[-1].layer, "backward", what, operations)
    largest = int(norms.argmax())
    what = msg(
        "the largest gradient is that of {name}: norm {norms:.3g}",
        name=tensors[largest].name,
        norms=norms[largest],
    )
    return Origin(tensors[largest].layer, "backward", what, operations)


def _harmless(probe: Probe) -> bool:
    """Whether nothing comes of what is not finite inside: the -inf of a mask in front of a softmax."""
    gradients = (weight.gradient for weight in probe.weights)
    return (
        math.isfinite(probe.loss.value)
        and _backward(probe) is None
        and not any(g is not None and g.non_finite for g in gradients)
    )


def _given(probe: Probe) -> Birth | None:
    if probe.loss.targets is not None and probe.loss.targets.non_finite:
        what = msg("the labels of the batch are not finite")
        return Birth("labels", "batch", Cause.BAD_BATCH, what, _REPAIR)
    for weight in probe.weights:
        if weight.value.non_finite:
            what = msg("the weights {name} hold values that are not finite", name=weight.name)
            advice = msg("initialise them again; a checkpoint with NaN in it cannot be trained on")
            layers = [op.layer for op in probe.operations if weight.name in op.weights]
            layer = (*layers, weight.name)[0]
            return Birth(layer, "weights", Cause.INITIALISATION, what, advice)
    return None


def _holes(probe: Probe, given: Input) -> set[int] | None:
    """The tensors that hold what is not finite in an input, where the network fills these holes itself; None
    where they reach a weight, the outputs or the loss.
    """
    if given.port is None:
        harmless = math.isfinite(probe.loss.value)
        return set() if harmless and _forward(probe, set()) is None else None
    reached = {given.port.tensor}
    for op in probe.operations:
        if reached.isdisjoint(port.tensor for port in op.inputs):
            continue
        if op.weights or op.kind is Kind.LOSS or (_finite(op.outputs) and not _finite(op.inputs)):
            return None
        if op.forward.non_finite:
            reached |= {port.tensor for port in op.outputs}
    return None if any(port.tensor in reached for port in probe.outputs) else reached


def _forward(probe: Probe, holes: set[int]) -> Birth | None:
    for op in probe.operations:
        made = {port.tensor for port in op.outputs}
        if op.forward.non_finite and not (made and made <= holes):
            cause, advice = _why(probe, op)
            what = msg(
                "{layer} ({type}) makes {non_finite} of its output NaN or inf",
                layer=op.layer,
                type=op.type,
                non_finite=percent(op.forward.non_finite),
            )
            return Birth(op.layer, "forward", cause, what, advice)
    return None


def _backward(probe: Probe) -> Birth | None:
    for op in reversed(probe.operations):
        if _finite(op.outputs) and not _finite(op.inputs):
            cause = Cause.LOSS_HEAD if op.kind is Kind.LOSS else Cause.ARCHITECTURE
            what = msg(
                "the gradient turns NaN or inf in {layer} ({type}), going backwards",
                layer=op.layer,
                type=op.type,
            )
            advice = msg("keep its argument away from where its slope is infinite (add an epsilon)")
            return Birth(op.layer, "backward", cause, what, advice)
    if not _finite(probe.outputs):
        what = msg("the gradient that {name} sends back is NaN or inf", name=probe.loss.name)
        advice = msg("let the loss read logits")
        return Birth(probe.loss.name, "backward", Cause.LOSS_HEAD, what, advice)
    return None


def _penalty(probe: Probe) -> Birth | None:
    """A term of the loss that hangs on the weights alone."""
    for weight in probe.weights:
        if not math.isfinite(weight.penalty):
            layers = [op.layer for op in probe.operations if weight.name in op.weights]
            what = msg(
                "the penalty on the weights has a gradient that is NaN or inf at {name}",
                name=weight.name,
            )
            advice = msg(
                "add an epsilon under its root: where a group of weights is zero, the slope is infinite"
            )
            layer = (*layers, weight.name)[0]
            return Birth(layer, "backward", Cause.LOSS_HEAD, what, advice)
    return None


def _finite(ports: tuple[Port, ...]) -> bool:
    return all(math.isfinite(port.norm) for port in ports)


def _why(probe: Probe, op: Operation) -> tuple[Cause, str]:
    if op.kind is Kind.LOSS:
        return Cause.LOSS_HEAD, msg("let the loss read logits: it then takes no logarithm of 0")
    if op.dtype == "float16":
        return (
            Cause.PRECISION,
            msg("keep this layer in float32, or use bfloat16: float16 ends at 65,504"),
        )
    before = probe.operations[: probe.operations.index(op)]
    largest = max((other.forward.max for other in before), default=0.0)
    if largest > 1e18:
        return Cause.INITIALISATION, msg(
            "initialise the weights at their variance-preserving scale"
        )
    return Cause.ARCHITECTURE, msg(
        "guard its argument (add an epsilon; no division by, or log of, 0)"
    )
