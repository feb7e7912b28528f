"""The backward pass over a recorded graph, and the frozen Probe that comes of it."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import Any

import torch

from evengrad.adapters.torch.graph import Node, summary_of
from evengrad.adapters.torch.losses import Head
from evengrad.adapters.torch.record import Recorder
from evengrad.errors import CannotCheckError
from evengrad.probe import Input, Kind, Loss, Operation, Port, Probe, Weight
from evengrad.statistics import Summary, root_sum_squares, summarise

_HEADS = {
    "softmax": "softmax",
    "log_softmax": "log_softmax",
    "logsoftmax": "log_softmax",
    "sigmoid": "sigmoid",
}


class Measurement:
    """What one backward pass gave: the graph on the path to the loss, with gradients by parameter.

    names: parameter id -> name. gradients, penalties: parameter id -> tensor.
    """

    def __init__(self, recorder: Recorder, loss: Any, names: dict[int, tuple[str, Any]]) -> None:
        self.recorder = recorder
        self.names = names
        self.loss = loss
        self.nodes = _path(recorder, loss)
        self.gradients: dict[int, Any] = {}
        self.penalties: dict[int, Any] = {}
        self.penalty_value = 0.0

    def run(self) -> None:
        """Differentiate the data's loss with all hooks live, then the penalty alone.

        The graph is kept, and ``.grad`` is not touched: the script's own backward comes after.
        """
        recorder = self.recorder
        parameters = {i: p for i, (_, p) in self.names.items() if p.requires_grad}
        leaves = [leaf for _, _, leaf in recorder.inputs.values()]
        if not parameters:
            raise CannotCheckError(
                "Expected a model with trainable parameters, but none of them requires a gradient. "
                "Unfreeze at least one: `parameter.requires_grad_(True)`."
            )
        recorder.readers = dict(Counter(n for node in self.nodes for n in node.reads))
        recorder.measuring = True
        try:
            with torch.enable_grad():
                found = torch.autograd.grad(
                    self.loss, [*parameters.values(), *leaves], retain_graph=True, allow_unused=True
                )
        finally:
            recorder.measuring = False
        self.gradients = {
            i: g for i, g in zip(parameters, found[: len(parameters)], strict=True) if g is not None
        }
        for term in recorder.penalties:
            if term.incoming is not None:
                self._run_penalty(term, parameters)

    def _run_penalty(self, term: Any, parameters: dict[int, Any]) -> None:
        self.penalty_value += term.term.item() * term.incoming.item()
        found = torch.autograd.grad(
            term.term,
            list(parameters.values()),
            grad_outputs=term.incoming,
            retain_graph=True,
            allow_unused=True,
        )
        for i, g in zip(parameters, found, strict=True):
            if g is not None:
                self.penalties[i] = self.penalties[i] + g if i in self.penalties else g

    def total_gradient(self, key: int) -> Any:
        """Gradient of data's loss and penalty together, None where neither reaches."""
        parts = [g[key] for g in (self.gradients, self.penalties) if key in g]
        return sum(parts[1:], parts[0]) if parts else None

    def assemble(self, *, batch_size: int, updates: dict[int, float], **rest: Any) -> Probe:
        """The frozen probe. rest: optimizer and notes."""
        recorder = self.recorder
        outputs, head_name = _outputs(recorder, self.nodes, self.loss)
        norms = self._norms()
        operations = [op for node in self.nodes if (op := self._operation(node, norms))]
        value = (self.loss.item() - self.penalty_value) / recorder.scale
        return Probe(
            frontend="torch",
            backend="torch",
            versions=(f"torch {torch.__version__}",),
            model=type(recorder.roots[0]).__name__ if recorder.roots else "raw tensors",
            batch_size=batch_size,
            inputs=self._inputs(norms),
            outputs=tuple(Port(n, norms.get(n, 0.0)) for n in outputs),
            operations=tuple(operations),
            weights=tuple(self._weights(updates)),
            loss=self._loss(value, head_name, outputs),
            **rest,
        )

    def _norms(self) -> dict[int, float]:
        """Tensor number -> norm of the gradient there, by all paths."""
        scale = self.recorder.scale
        norms = {n: v / scale for n, v in self.recorder.input_gradients.items()}
        for node in self.nodes:
            for slot, number in enumerate(node.makes):
                norms[number] = node.above[slot].norm / scale if slot in node.above else 0.0
        return norms

    def _operation(self, node: Node, norms: dict[int, float]) -> Operation | None:
        scale = self.recorder.scale
        above = [node.above[slot] for slot in sorted(node.above)]
        assert node.forward is not None
        if node.forward.shape == () and node.kind is not Kind.LOSS:
            return None
        return Operation(
            name=node.name,
            layer=node.layer,
            kind=node.kind,
            type=node.type,
            inputs=tuple(
                Port(n, node.below[slot] / scale if slot in node.below else norms.get(n, 0.0))
                for slot, n in enumerate(node.reads)
            ),
            outputs=tuple(Port(n, norms[n]) for n in node.makes),
            forward=node.forward,
            backward=_scaled(_together(above, node.forward), 1 / scale),
            weights=tuple(dict.fromkeys(self._name(p) for p in node.parameters)),
            health=node.health,
            source=node.source,
        )

    def _name(self, parameter: Any) -> str:
        found = self.names.get(id(parameter))
        return found[0] if found else "parameter"

    def _inputs(self, norms: dict[int, float]) -> tuple[Input, ...]:
        used = {n for node in self.nodes for n in node.reads}
        floats = [
            Input(name, summary_of(value), Port(number, norms.get(number, 0.0)), _columns(value))
            for number, (name, value, _) in self.recorder.inputs.items()
            if number in used
        ]
        integers = [Input(name, summary_of(value), None) for name, value in self.recorder.integers]
        return (*floats, *integers)

    def _weights(self, updates: dict[int, float]) -> list[Weight]:
        scale = self.recorder.scale
        fan_in: dict[int, float] = {}
        for node in self.recorder.nodes:
            fan_in |= node.fan_in
        found = []
        for key, (name, parameter) in self.names.items():
            gradient, penalty = self.gradients.get(key), self.penalties.get(key)
            found.append(
                Weight(
                    name=name,
                    value=summary_of(parameter),
                    fan_in=fan_in.get(key),
                    gradient=None if gradient is None else _scaled(summary_of(gradient), 1 / scale),
                    penalty=0.0 if penalty is None else summary_of(penalty).rms / scale,
                    update=updates.get(key),
                )
            )
        return found

    def _loss(self, value: float, head_name: str | None, outputs: list[int]) -> Loss:
        head = next(
            (self.recorder.heads[id(n)] for n in self.nodes if id(n) in self.recorder.heads), None
        )
        head = head or Head("custom loss", "other", "unknown", None)
        made = {number: node for node in self.nodes for number in node.makes}
        end = made.get(head.read if head.read is not None else (outputs or [-1])[0])
        return Loss(
            name=head.name,
            value=value,
            family=head.family,
            reads=head.reads,
            head=head_name,
            penalty=self.penalty_value / self.recorder.scale,
            output=end.forward if end else None,
            classes=head.classes,
            targets=head.targets,
            ignored=head.ignored,
        )


def _path(recorder: Recorder, loss: Any) -> list[Node]:
    """The recorded calls that the loss was made of, forward order."""
    end = recorder.number(loss)
    wanted = set() if end is None else {end}
    path = []
    for node in reversed(recorder.nodes):
        if wanted.intersection(node.makes):
            path.append(node)
            wanted.update(node.reads)
    return path[::-1]


def _outputs(recorder: Recorder, nodes: list[Node], loss: Any) -> tuple[list[int], str | None]:
    """Where the budget begins, and the closing activation that counts as part of the loss."""
    made = {number: node for node in nodes for number in node.makes}
    outside = [node for node in nodes if not node.inside]
    read_outside = {n for node in outside for n in node.reads}
    ends = list(dict.fromkeys(n for n in recorder.returned if n in made and n in read_outside))
    end = recorder.number(loss)
    ends = [n for n in ends if end in _descendants(nodes, {n}, set(ends) - {n})]
    losses = [node for node in nodes if id(node) in recorder.heads]
    if not ends:
        first = recorder.heads[id(losses[0])].read if losses else None
        ends = [first] if first is not None else _last_tensors(nodes, recorder.number(loss))
    read = recorder.heads[id(losses[0])].read if losses else ends[0] if ends else None
    closing = _closing(made, read)
    if closing is None:
        return ends, None
    before = closing.reads
    behind = _descendants(nodes, set(closing.makes))
    kept = [n for n in ends if n not in behind]
    return kept or list(before), _HEADS[closing.type.lower()]


def _closing(made: dict[int, Node], number: int | None) -> Node | None:
    """A softmax, log_softmax or sigmoid at the very end, seen through reshapes."""
    while number is not None and number in made:
        node = made[number]
        if node.type.lower() in _HEADS:
            return node
        if node.kind is not Kind.RESHAPE or len(node.reads) != 1:
            return None
        number = node.reads[0]
    return None


def _descendants(nodes: list[Node], start: set[int], barrier: set[int] | None = None) -> set[int]:
    """The tensors made from these, themselves included, by paths that do not pass the barrier."""
    reached = set(start)
    for node in nodes:
        if reached.intersection(node.reads):
            reached.update(set(node.makes) - (barrier or set()))
    return reached


def _last_tensors(nodes: list[Node], loss: int | None) -> list[int]:
    """Without a model or a known loss: the last thing that is not a number."""
    for node in reversed(nodes):
        if node.forward is not None and node.forward.shape != ():
            return list(node.makes)
    return [] if loss is None else [loss]


def _together(parts: list[Summary], forward: Summary) -> Summary:
    """Several outputs' gradients as one; zero where none came."""
    if not parts:
        return Summary(forward.shape, 0.0, 0.0, 0.0, 1.0, 0.0)
    if len(parts) == 1:
        return parts[0]
    size = sum(p.size for p in parts)
    share = [p.size / size for p in parts]
    return Summary(
        shape=parts[0].shape,
        mean=sum(s * p.mean for s, p in zip(share, parts, strict=True)),
        rms=root_sum_squares(s**0.5 * p.rms for s, p in zip(share, parts, strict=True)),
        max=max(p.max for p in parts),
        zeros=sum(s * p.zeros for s, p in zip(share, parts, strict=True)),
        non_finite=sum(s * p.non_finite for s, p in zip(share, parts, strict=True)),
    )


def _scaled(summary: Summary, factor: float) -> Summary:
    if factor == 1.0:
        return summary
    return replace(
        summary, mean=summary.mean * factor, rms=summary.rms * factor, max=summary.max * factor
    )


def _columns(value: Any) -> tuple[float, ...]:
    """Root mean square of each column of tabular input."""
    if value.ndim != 2:
        return ()
    return tuple(summarise(c).rms for c in value.detach().float().cpu().numpy().T)
