"""EG901 underflow: gradients that are too small for float16.

What it finds: an operation in float16 at which the gradient is so small that many of its elements become zero.

Why it matters: zeros train nothing, and what is left has lost its digits. The loss falls in float32 and stands
still in float16.

How it decides: the smallest number of float16 is 2^-24 (6e-8). It fires below four times that in rms, times the
training's own loss scale: there a tenth of normally distributed values round to zero, and the rest are wrong by
a tenth. Between that and 2^-14 (6e-5), below which float16 begins to lose digits, there is no finding: its
errors are smaller than a gradient's noise from batch to batch. A gradient of exactly zero counts where nothing
but float16 is left to explain it: nearer to the loss it is that small, or it is gone at the operation next to
the loss although that is not zero.

What to do: scale the loss (torch.amp.GradScaler, keras.optimizers.LossScaleOptimizer), or compute in bfloat16,
which has the range of float32.

References: Micikevicius 2018 (1710.03740), section 3.2.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from evengrad.diagnosis.evidence import Evidence
from evengrad.diagnosis.examples.network import NetworkCase
from evengrad.values.finding import Cause, Finding, Severity, Symptom
from evengrad.values.message import msg
from evengrad.values.probe import Operation, Probe
from evengrad.values.spec import Kind

CODE = "EG901"
SICK = (NetworkCase(half=True, loss_weight=1e-4), NetworkCase(half=True, loss_weight=1e-7))
HEALTHY = (
    NetworkCase(half=True),
    NetworkCase(layers="conv", width=16, half=True),
    NetworkCase(loss_weight=1e-4),
)

_LIMIT = 4 * 2.0**-24
_FEW = 3


def check(evidence: Evidence) -> Iterable[Finding]:
    """Fire on the operations in float16 whose gradient is lost."""
    probe = evidence.probe
    sick = _lost(probe)
    if not sick:
        return
    worst = min(sick, key=lambda op: (op.backward.rms, -op.backward.zeros))
    layers = tuple(dict.fromkeys(op.layer for op in sick))
    yield Finding(
        CODE,
        msg(
            "{layer}'s gradients are too small for float16: {zeros:.0%} are zero",
            layer=worst.layer,
            zeros=worst.backward.zeros,
        ),
        Cause.PRECISION,
        Severity.ERROR,
        symptom=Symptom.UNDERFLOW,
        layers=layers,
        evidence=tuple(
            msg(
                "{layer}: rms {rms:.3g}; float16 ends at 6e-08",
                layer=op.layer,
                rms=op.backward.rms * probe.loss_scale,
            )
            for op in sick[:_FEW]
        ),
        advice=(msg("scale the loss, or compute in bfloat16"),),
    )


def _lost(probe: Probe) -> Sequence[Operation]:
    """In float16, with an rms below the limit; forward order."""
    half = [op for op in probe.operations if op.dtype == "float16" and op.kind is not Kind.LOSS]
    small = [op for op in half if 0 < op.backward.rms * probe.loss_scale < _LIMIT]
    gone = [op for op in half if op.backward.rms == 0]
    nothing = bool(half) and half[-1].backward.rms == 0 and probe.loss.value > 0
    if not small and not (nothing and probe.loss.reads != "probabilities"):
        return ()
    return [op for op in half if op in small or op in gone]
