"""Probe values by hand: nets with chosen gains, without a framework."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from evengrad.values.probe import (
    ActivationHealth,
    Input,
    Loss,
    Operation,
    Optimizer,
    Port,
    Probe,
    Targets,
    Weight,
)
from evengrad.values.spec import Kind
from evengrad.values.summary import Summary, summarise


def summary(rms: float = 1.0, shape: tuple[int, ...] = (64, 64), zeros: float = 0.0) -> Summary:
    """Figures of a tensor of that root mean square; all of it non-finite where rms is not finite."""
    bad = not math.isfinite(rms)
    return Summary(shape, 0.0, 0.0 if bad else rms, 0.0 if bad else 3 * rms, zeros, float(bad))


def norm(rms: float, shape: tuple[int, ...] = (64, 64)) -> float:
    """Norm of a tensor of that root mean square."""
    return rms * math.sqrt(math.prod(shape))


def operation(
    name: str,
    kind: Kind,
    reads: Sequence[int],
    makes: int,
    norms: dict[int, float],
    *,
    layer: str | None = None,
    type: str = "op",
    gain: float = 1.0,
    forward: Summary | None = None,
    weights: tuple[str, ...] = (),
    health: ActivationHealth | None = None,
) -> Operation:
    """An operation whose inputs each get gain / sqrt(inputs) of its output's gradient; adds to norms.

    norms: tensor -> norm of its gradient so far, this operation's output already in it. Gradients
    of several readers of a tensor are added as if they were orthogonal.
    """
    above = norms[makes]
    below = above * gain / math.sqrt(len(reads))
    for tensor in reads:
        norms[tensor] = math.hypot(norms.get(tensor, 0.0), below)
    shape = (64, 64)
    return Operation(
        name=name,
        layer=layer or name,
        kind=kind,
        type=type,
        inputs=tuple(Port(tensor, below) for tensor in reads),
        outputs=(Port(makes, above),),
        forward=forward or summary(),
        backward=summary(above / math.sqrt(math.prod(shape)), shape),
        weights=weights,
        health=health,
        source="train.py:12",
    )


def matrix(name: str, scale: float, fan_in: int = 64, update: float | None = 0.01) -> Weight:
    """A weight matrix with that sqrt(mean(W^2) fan_in); update: relative to its rms."""
    rms = scale / math.sqrt(fan_in)
    return Weight(
        name,
        summary(rms, (64, fan_in)),
        fan_in=float(fan_in),
        gradient=summary(1e-3, (64, fan_in)),
        update=None if update is None else update * rms,
    )


def chain(
    gains: Sequence[tuple[float, float]],
    *,
    activation: str = "relu",
    layers: Sequence[str] | None = None,
    scales: Sequence[float] | None = None,
    health: ActivationHealth | None = None,
    top: float = 1.0,
    updates: Sequence[float | None] | None = None,
) -> Probe:
    """A chain of blocks, weights then activation, with these gains (of weights, of activation).

    Forward order. top: norm of the gradient at the output. scales: of the weights, by default
    their gains. updates: each matrix' coming update relative to its weights.
    """
    names = layers or [f"hidden{i + 1}" for i in range(len(gains))]
    scales = scales or [gain for gain, _ in gains]
    updates = updates or [0.01] * len(gains)
    norms = {2 * len(gains): top}
    operations: list[Operation] = []
    forward = summary(0.8, zeros=0.5 if activation == "relu" else 0.0)
    for i in reversed(range(len(gains))):
        w, a = gains[i]
        operations.append(
            operation(
                f"{names[i]}.{activation}",
                Kind.ACTIVATION,
                (2 * i + 1,),
                2 * i + 2,
                norms,
                layer=names[i],
                type=activation,
                gain=a,
                forward=forward,
                health=health or ActivationHealth(0.02, 0.0, 64),
            )
        )
        operations.append(
            operation(
                names[i],
                Kind.WEIGHTS,
                (2 * i,),
                2 * i + 1,
                norms,
                type="Linear",
                gain=w,
                weights=(f"{names[i]}.weight",),
            )
        )
    weights = tuple(
        replace(
            matrix(f"{name}.weight", scale, update=update),
            gradient=summary(0.8 * norms[2 * i + 1] / 8),  # as of independent samples
        )
        for i, (name, scale, update) in enumerate(zip(names, scales, updates, strict=True))
    )
    return probe(tuple(reversed(operations)), weights, norms, output=2 * len(gains))


def residual(blocks: int, *, gain: float = 1.0, broken: int | None = None) -> Probe:
    """Residual blocks of four operations: weights, normalisation, relu, add.

    broken: the block from whose weights on the outputs, and before which the gradients, are NaN.
    """
    output = 4 * blocks
    norms = {output: math.nan if broken is not None else 1.0}
    operations: list[Operation] = []
    for i in reversed(range(blocks)):
        at, name = 4 * i, f"block{i + 1}"
        late = broken is not None and i >= broken
        forward = summary(math.nan) if late else summary(0.8)
        for suffix, kind, type_, reads, makes in (
            (".add", Kind.MERGE, "add", (at, at + 3), at + 4),
            (".relu", Kind.ACTIVATION, "relu", (at + 2,), at + 3),
            (".norm", Kind.NORMALISATION, "BatchNorm2d", (at + 1,), at + 2),
            (".conv", Kind.WEIGHTS, "Conv2d", (at,), at + 1),
        ):
            operations.append(
                operation(
                    name + suffix,
                    kind,
                    reads,
                    makes,
                    norms,
                    type=type_,
                    gain=math.sqrt(2) if kind is Kind.MERGE else gain,
                    forward=forward,
                    weights=(f"{name}.conv.weight",) if kind is Kind.WEIGHTS else (),
                    health=ActivationHealth(0.0, 0.1, 64) if kind is Kind.ACTIVATION else None,
                )
            )
    weights = tuple(matrix(f"block{i + 1}.conv.weight", 1.41) for i in range(blocks))
    return probe(tuple(reversed(operations)), weights, norms, output=output)


def probe(
    operations: tuple[Operation, ...],
    weights: tuple[Weight, ...],
    norms: dict[int, float],
    *,
    output: int,
) -> Probe:
    """A torch probe of these operations; tensor 0 is the input."""
    values = summarise(np.random.default_rng(0).standard_normal((64, 64)))
    return Probe(
        frontend="torch",
        backend="torch",
        versions=("torch 2.13.0",),
        model="Net",
        batch_size=64,
        inputs=(Input("input", values, Port(0, norms[0])),),
        outputs=(Port(output, norms[output]),),
        operations=operations,
        weights=weights,
        loss=Loss(
            "CrossEntropyLoss",
            2.3026,
            family="sparse_categorical",
            reads="logits",
            output=summary(1.0, (64, 10)),
            classes=10,
            targets=Targets((64,), "int64", 0.0, 9.0, True, 0.0),
        ),
        optimizer=Optimizer("SGD", 0.01),
    )


def with_notes(probe: Probe, *notes: str) -> Probe:
    """The same probe with these notes."""
    return replace(probe, notes=notes)


def noisy(
    rng: np.random.Generator, depth: int, weights: float, slope: float
) -> list[tuple[float, float]]:
    """Gains of a chain, a few percent round the given ones."""
    noise = np.exp(0.05 * rng.standard_normal((depth, 2)))
    return [(float(weights * a), float(slope * b)) for a, b in noise]
