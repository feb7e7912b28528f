"""The exact arithmetic of a probe: total growth, cut points, blocks, and one term an operation.

On a chain the terms are the operations' own log gains and sum to the total. On a graph with
branches the blocks between cut points sum exactly; inside a block an operation's term is its log
gain weighted by the share of the gradient's energy that flows through it, and what the terms leave
of the block's own growth is its ``branching``: with path energies E_k and p_k = E_k / sum(E),
``log sum(E) = sum(p_k log E_k) + H(p)``, so branching is the entropy of the paths (half of it, in
norms: log 2 / 2 for a residual sum of equals) plus their interference.
"""

from __future__ import annotations

import math
from collections import defaultdict
from dataclasses import dataclass

from evengrad.values.probe import Operation, Port, Probe, log_ratio
from evengrad.values.summary import root_sum_squares


@dataclass(frozen=True, slots=True)
class Block:
    """The operations between two neighbouring cut points.

    Attributes:
        operations: forward order.
        log_gain: log(norm below / norm above), exact.
        branching: what the terms leave of it.
        bottom: log(norm below / norm at the model's outputs).
    """

    operations: tuple[str, ...]
    log_gain: float
    branching: float
    bottom: float


@dataclass(frozen=True, slots=True)
class ProfilePoint:
    """One point of the profile.

    Attributes:
        operation: its name.
        layer: the user's own name.
        log_norm: log(norm of dL/dy at the operation / norm at the outputs).
        cut: whether all paths cross its output; inside a branch only a part of the gradient flows.
    """

    operation: str
    layer: str
    log_norm: float
    cut: bool = True


@dataclass(frozen=True, slots=True)
class Budget:
    """The split of the total growth, natural logarithms throughout.

    Attributes:
        total: log(norm at the inputs / norm at the outputs) = sum of the blocks' log_gain = sum of terms + sum
            of the blocks' branching.
        blocks: between neighbouring cut points, forward order.
        terms: operation -> its share of the total.
        flow: operation -> the share of the gradient's energy that passes it, 0 to 1 (1 for all of a chain).
        profile: the level at each operation, forward order.

    References:
        docs/theory.md, "Growth through depth".
    """

    total: float
    blocks: tuple[Block, ...]
    terms: dict[str, float]
    flow: dict[str, float]
    profile: tuple[ProfilePoint, ...]


def budget(probe: Probe) -> Budget:
    """Split the growth of the gradient from the outputs to the inputs of a probed model."""
    path = operations_on_path(probe)
    sources = _sources(probe, path)
    ends = {port.tensor: port.norm for port in probe.outputs}
    norms = {port.tensor: port.norm for op in path for port in op.outputs} | sources
    top = root_sum_squares(ends.values())
    terms, flow = _terms(path, sources, ends, norms)

    blocks: list[Block] = []
    below = root_sum_squares(sources.values())
    for operations, cut in _between_cuts(path, set(sources), set(ends)):
        above = root_sum_squares(norms[tensor] for tensor in cut)
        log_gain = _log_gain(below, above)
        inside = sum(terms[op.name] for op in operations if op.name in terms)
        remainder = log_gain - inside if math.isfinite(log_gain) else 0.0
        names = tuple(op.name for op in operations)
        blocks.append(Block(names, log_gain, remainder, _log_gain(below, top)))
        below = above
    cuts = {block.operations[-1] for block in blocks}
    profile = tuple(
        ProfilePoint(
            op.name,
            op.layer,
            _log_gain(root_sum_squares(port.norm for port in op.outputs), top),
            op.name in cuts or not op.inputs,
        )
        for op in path
    )
    total = sum(block.log_gain for block in blocks)
    return Budget(total, tuple(blocks), terms, flow, profile)


def operations_on_path(probe: Probe) -> tuple[Operation, ...]:
    """The operations between the inputs and the outputs, forward order; not the loss's own."""
    wanted = {port.tensor for port in probe.outputs}
    path: list[Operation] = []
    for op in reversed(probe.operations):
        if any(port.tensor in wanted for port in op.outputs):
            path.append(op)
            wanted.update(port.tensor for port in op.inputs)
    return tuple(reversed(path))


def _sources(probe: Probe, path: tuple[Operation, ...]) -> dict[int, float]:
    """Where gradients end: float inputs, and what is made from integers (embeddings)."""
    read = {port.tensor for op in path for port in op.inputs}
    ends = {port.tensor for port in probe.outputs}
    made = {port.tensor for op in path for port in op.outputs}
    ports = [i.port for i in probe.inputs if i.port is not None]
    ports += [port for op in path if not op.inputs for port in op.outputs]
    found = {p.tensor: p.norm for p in ports if p.tensor in read or p.tensor in ends}
    for op in path:
        for port in op.inputs:
            if port.tensor not in made:
                found.setdefault(port.tensor, port.norm)
    return found


def _between_cuts(
    path: tuple[Operation, ...], sources: set[int], ends: set[int]
) -> list[tuple[list[Operation], set[int]]]:
    """Group operations by the cut points between them.

    A tensor is a cut point if, at some place in a topological order, it alone is still to be read.
    """
    to_read: dict[int, int] = defaultdict(int)
    for op in path:
        for port in op.inputs:
            to_read[port.tensor] += 1
    for tensor in ends:
        to_read[tensor] += 1

    live = set(sources)
    groups: list[tuple[list[Operation], set[int]]] = []
    current: list[Operation] = []
    for op in path:
        if not op.inputs:
            continue
        current.append(op)
        for port in op.inputs:
            to_read[port.tensor] -= 1
            if to_read[port.tensor] == 0:
                live.discard(port.tensor)
        live.update(port.tensor for port in op.outputs if to_read[port.tensor])
        if len(live) == 1:
            groups.append((current, set(live)))
            current = []
    if current:
        groups.append((current, set(ends)))
    return groups


def _terms(
    path: tuple[Operation, ...],
    sources: dict[int, float],
    ends: dict[int, float],
    norms: dict[int, float],
) -> tuple[dict[str, float], dict[str, float]]:
    """Each operation's log gain, weighted by the energy that flows through it."""
    flows = _split(1.0, [Port(tensor, norm) for tensor, norm in sources.items()])
    through: dict[int, float] = defaultdict(float)
    for op in path:
        for port in op.inputs:
            through[port.tensor] += port.norm**2
    for tensor in ends:
        through[tensor] = max(through[tensor], norms[tensor] ** 2)

    readers: dict[int, int] = defaultdict(int)
    for op in path:
        for port in op.inputs:
            readers[port.tensor] += 1
    terms: dict[str, float] = {}
    flow: dict[str, float] = {}
    for op in path:
        if not op.inputs:
            continue
        above = root_sum_squares(port.norm for port in op.outputs)
        term = passing = 0.0
        for port in op.inputs:
            share = _share(port.norm**2, through[port.tensor], readers[port.tensor])
            weight = flows.get(port.tensor, 0.0) * share
            passing += weight
            if weight:
                term += weight * _log_gain(port.norm, above)
        terms[op.name], flow[op.name] = term, passing
        flows |= _split(passing, op.outputs)
    return terms, flow


def _split(flow: float, ports: tuple[Port, ...] | list[Port]) -> dict[int, float]:
    total = sum(port.norm**2 for port in ports)
    return {p.tensor: flow * _share(p.norm**2, total, len(ports)) for p in ports}


def _share(part: float, whole: float, parts: int) -> float:
    """Part / whole; equal shares where nothing flows or the flow is not finite."""
    if whole == 0.0 or not math.isfinite(whole):
        return 1.0 / max(parts, 1)
    return part / whole


def _log_gain(below: float, above: float) -> float:
    """log(below / above); where no gradient arrives at all there is no growth to speak of."""
    return 0.0 if below == above == 0.0 else log_ratio(below, above)
