"""From recorded calls with their drafts to a ModelSpec."""

from __future__ import annotations

from typing import Any

import torch

from evengrad.adapters.torch.ops.draft import OperationDraft
from evengrad.adapters.torch.record.graph import RecordedCall
from evengrad.adapters.torch.record.record import Recorder
from evengrad.values.message import msg
from evengrad.values.spec import (
    Composite,
    InputSpec,
    Kind,
    Law,
    ModelSpec,
    Node,
    Opaque,
    Shape,
    WeightSpec,
)


def specify(
    recorder: Recorder,
    nodes: list[RecordedCall],
    inputs: list[Any],
    outputs: list[int],
    names: dict[int, tuple[str, Any]],
    model: str,
) -> ModelSpec:
    """nodes: on the path, named. inputs: the model's. outputs: tensor numbers where the budget begins."""
    table = _SpecTensors(recorder.shapes)
    weights = tuple(_weights(recorder, nodes, names))
    made = [_node(node, table, names) for node in nodes if node.draft is not None]
    found: list[InputSpec] = []
    for i in inputs:
        tensor = table.number(i.number, tuple(i.value.shape))
        found.append(InputSpec(i.name, tensor, i.number is None))
    return ModelSpec(
        frontend="torch",
        backend="torch",
        versions=(f"torch {torch.__version__}",),
        model=model,
        tensors=tuple(table.shapes),
        inputs=tuple(found),
        outputs=tuple(table.number(n, recorder.shapes[n]) for n in outputs),
        nodes=tuple(made),
        weights=weights,
        constants=table.constants,
        notes=(*_notes(weights), *_guesses(recorder, names), *_unknown(made, table.constants)),
    )


class _SpecTensors:
    """Tensors numbered from 0, by the recorder's numbers or new."""

    def __init__(self, recorded: dict[int, Shape]) -> None:
        self.recorded = recorded
        self.shapes: list[Shape] = []
        self.constants: dict[int, Law] = {}
        self._known: dict[int, int] = {}

    def number(self, recorded: int | None, shape: Shape) -> int:
        """The same for the same recorded number; None: a new one."""
        if recorded is not None and recorded in self._known:
            return self._known[recorded]
        self.shapes.append(shape)
        if recorded is not None:
            self._known[recorded] = len(self.shapes) - 1
        return len(self.shapes) - 1


def _node(node: RecordedCall, table: _SpecTensors, names: dict[int, tuple[str, Any]]) -> Node:
    draft = node.draft
    assert draft is not None
    inputs = []
    for operand in draft.operands:
        number = table.number(operand.number, operand.shape)
        if operand.number is None:
            table.constants[number] = node.laws.get(id(operand), Law(0.0, 1.0, "unknown"))
        inputs.append(number)
    outputs = tuple(table.number(n, table.recorded[n]) for n in node.makes)
    op = draft.op
    if draft.steps:
        outputs = outputs[:1]
        op = _composite(draft, node.name, inputs, outputs, table)
    elif isinstance(op, Opaque):
        inputs = [table.number(n, table.recorded[n]) for n in dict.fromkeys(node.reads)]
    weights = tuple(dict.fromkeys(names[id(p)][0] for p in node.parameters if id(p) in names))
    return Node(
        node.name,
        node.layer,
        node.kind,
        node.type,
        op,
        tuple(inputs),
        outputs,
        weights,
        node.source,
    )


def _composite(
    draft: OperationDraft,
    name: str,
    inputs: list[int],
    outputs: tuple[int, ...],
    table: _SpecTensors,
) -> Composite:
    inner: list[Node] = []
    made: list[int] = []
    for i, (op, reads, shape) in enumerate(draft.steps):
        last = i == len(draft.steps) - 1
        number = outputs[0] if last else table.number(None, shape)
        made.append(number)
        tensors = tuple(inputs[at] if where == "in" else made[at] for where, at in reads)
        inner.append(Node(f"{name}:{i}", "", Kind.OTHER, type(op).__name__, op, tensors, (number,)))
    return Composite(tuple(inner))


def _weights(
    recorder: Recorder, nodes: list[RecordedCall], names: dict[int, tuple[str, Any]]
) -> list[WeightSpec]:
    fan_in: dict[int, float] = {}
    for node in nodes:
        fan_in |= node.fan_in
    return [
        WeightSpec(name, tuple(p.shape), recorder.law_of(p), fan_in.get(key))
        for key, (name, p) in names.items()
    ]


def _notes(weights: tuple[WeightSpec, ...]) -> list[str]:
    unknown = [w.name for w in weights if w.law.origin == "unknown"]
    if not unknown:
        return []
    some = ", ".join(unknown[:3]) + (", ..." if len(unknown) > 3 else "")
    return [
        msg(
            "the initial values of {some} are not known and are taken for standard normal: build the "
            "model with "
            "values, or initialise it inside the function given to forecast()",
            some=some,
        )
    ]


def _guesses(recorder: Recorder, names: dict[int, tuple[str, Any]]) -> list[str]:
    """Weights that a model makes something of which nobody could follow."""
    known = {k: p for k, p in recorder.guessed.items() if recorder.law_of(p).origin != "unknown"}
    found = [names[key][0] for key in known if key in names]
    return [
        msg("what the model makes of {name} is taken to have the law of {name}", name=name)
        for name in found
    ]


def _unknown(nodes: list[Node], constants: dict[int, Law]) -> list[str]:
    """Constants of the model whose values nobody knows."""
    unknown = {tensor for tensor, law in constants.items() if law.origin == "unknown"}
    readers = [n.name for n in nodes if unknown.intersection(n.inputs)]
    if not readers:
        return []
    some = ", ".join(readers[:3]) + (", ..." if len(readers) > 3 else "")
    return [
        msg(
            "constants that {some} read have unknown values and are taken for standard normal",
            some=some,
        )
    ]
