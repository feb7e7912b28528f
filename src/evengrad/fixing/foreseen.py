"""Which of several initialisations suits a network: by the forecast of the network with each of them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

from evengrad.diagnosis.budget import budget
from evengrad.fixing.case import Candidate, Case
from evengrad.fixing.changes.activation import Activation
from evengrad.fixing.changes.initialise import Initialise
from evengrad.theory.activations import FUNCTIONS, canonical, leaky_relu
from evengrad.theory.prediction import predict
from evengrad.theory.shaping import Shaping
from evengrad.values.change import Change
from evengrad.values.spec import Convolution, Dense, Law, ModelSpec, Node, Pointwise

_LARGEST = 1000
"""Operations: a network of more is not forecast once a candidate, for that would take seconds."""
_ALIKE = 0.7  # of a logarithm: a factor of 2 in the gradient decides nothing
_STEEPEST = 50.0  # of a log energy: beyond, no figure is needed


def by_forecast(case: Case, equal: Sequence[Candidate]) -> Sequence[Candidate]:
    """Candidates that are equal in all else, those first whose forecast is the most even.

    Only where two of them or more draw all weights anew; the others stay where they are.
    """
    spec = None if case.probe is None else case.probe.spec
    places = [i for i, c in enumerate(equal) if _foreseen(c.changes)]
    if spec is None or len(places) < 2 or len(spec.nodes) > _LARGEST:
        return equal
    sizes = {i: growth(spec, equal[i].changes) for i in places}
    order = sorted(places, key=lambda i: round(abs(sizes[i]) / _ALIKE))
    found = list(equal)
    for place, chosen in zip(places, order, strict=True):
        found[place] = equal[chosen]
    return found


def growth(spec: ModelSpec, changes: Iterable[Change]) -> float:
    """The log of the gradient's norm at the inputs over that at the outputs, forecast with these changes; inf
    where it is not known.

    changes: of initialisations and activations.
    """
    total = predict(changed(spec, changes)).total.median
    return total if math.isfinite(total) else math.inf


def changed(spec: ModelSpec, changes: Iterable[Change]) -> ModelSpec:
    """A network with initialisations and activations changed; other changes are left out."""
    nodes = spec.nodes
    fans = {weight.name: weight.fan_in for weight in spec.weights}
    for change in changes:
        if isinstance(change, Initialise):
            nodes = tuple(_drawn(node, change, fans) for node in nodes)
        elif isinstance(change, Activation):
            nodes = tuple(_activated(node, change) for node in nodes)
    return replace(spec, nodes=nodes)


def _foreseen(changes: Iterable[Change]) -> bool:
    kinds = [type(change) for change in changes]
    return Initialise in kinds and set(kinds) <= {Initialise, Activation}


def _drawn(node: Node, change: Initialise, fans: dict[str, float | None]) -> Node:
    fan_in = next((fan for name in node.weights if (fan := fans.get(name))), None)
    if (
        node.layer not in change.layers
        or not isinstance(node.op, Dense | Convolution)
        or not fan_in
    ):
        return node
    delta = change.scheme == "orthogonal" and isinstance(node.op, Convolution)
    law = Law(
        0.0, change.gain / math.sqrt(fan_in), change.scheme, _centre(node.op) if delta else None
    )
    bias = None if node.op.bias is None else Law(0.0, change.bias, change.scheme)
    return replace(node, op=replace(node.op, weight=law, bias=bias))


def _centre(op: Any) -> tuple[float, ...]:
    """All energy in the middle of the kernel."""
    place = 0
    for size in op.kernel:
        place = place * size + size // 2
    return tuple(float(i == place) for i in range(math.prod(op.kernel)))


def _activated(node: Node, change: Activation) -> Node:
    if not isinstance(node.op, Pointwise) or canonical(node.op.name) != canonical(change.old):
        return node
    phi = leaky_relu(change.slope) if change.slope is not None else FUNCTIONS.get(change.new)
    if phi is not None and change.shaping is not None:
        phi = Shaping(*change.shaping).of(phi)
    return node if phi is None else replace(node, op=Pointwise(change.new, phi))


def branch_energy(case: Case) -> float:
    """What a residual branch makes of the gradient's energy, the mean over all: from the growth of the whole
    network that is forecast, or else measured, by ``(1 + g)^branches``.
    """
    blocks = len(case.branches)
    if case.probe is None or not blocks:
        return 1.0
    spec = case.probe.spec
    small = spec is not None and len(spec.nodes) <= _LARGEST
    total = growth(spec, ()) if spec is not None and small else budget(case.probe).total
    return math.expm1(min(max(2 * total / blocks, 0.0), _STEEPEST)) if total < math.inf else 1.0
