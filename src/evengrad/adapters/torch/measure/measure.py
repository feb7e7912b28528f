"""The backward pass over a recorded graph, and the frozen Probe that comes of it."""

from __future__ import annotations

from collections import Counter
from functools import partial
from typing import Any

import torch

from evengrad.adapters.torch.compat import uncompiled
from evengrad.adapters.torch.losses.terms import dominated
from evengrad.adapters.torch.record.ends import path_to, path_to_any, where_the_budget_begins
from evengrad.adapters.torch.record.graph import RecordedCall
from evengrad.adapters.torch.record.losses import Head
from evengrad.adapters.torch.record.naming import assign, parameter_names, prefixes
from evengrad.adapters.torch.record.record import Recorder
from evengrad.adapters.torch.record.specify import specify
from evengrad.adapters.torch.statistics.eager import column_norms
from evengrad.adapters.torch.statistics.layout import array
from evengrad.errors import CannotCheckError
from evengrad.values.message import msg
from evengrad.values.probe import Input, Loss, Operation, Optimizer, Port, Probe, Weight
from evengrad.values.spec import Kind, ModelSpec
from evengrad.values.summary import Summary, column_rms, nothing, rms_or_nan, together


class Measurement:
    """What one backward pass gave: the graph on the path to the loss, with gradients by parameter.

    names: parameter id -> name, parameter. gradients, penalties: parameter id -> tensor.
    Raises CannotCheckError where the loss hangs on nothing that was recorded.
    """

    def __init__(self, recorder: Recorder, loss: Any, model: Any = None) -> None:
        self.recorder = recorder
        self.loss = loss
        self.nodes = path_to(recorder.number(loss), recorder.nodes)
        if not self.nodes:
            why = f" ({recorder.trouble})" if recorder.trouble else ""
            raise CannotCheckError(
                msg(
                    "Expected a loss made from the model's output by torch functions, but no recorded call "
                    "leads to it{why}. Compute it from the output of model(x), with gradients enabled.",
                    why=why,
                )
            )
        used = {node.root for node in self.nodes}
        self.roots = [root for root in recorder.modules.roots if id(root) in used]
        if model is not None and len(self.roots) < 2:
            self.roots = [model]
        assign(self.nodes, prefixes(self.roots))
        self.names = parameter_names(self.roots, self.nodes)
        passes = {node.forward_pass for node in self.nodes}
        self.inputs = [i for i in recorder.inputs if i.forward_pass in passes]
        self.gradients: dict[int, Any] = {}
        self.penalties: dict[int, Any] = {}
        self.penalty_value = 0.0
        self.summed = recorder.losses.summed(loss)
        self.value = 0.0
        self._of_gradients: dict[int, Summary] = {}
        self._of_penalties: dict[int, Summary] = {}
        self._of_inputs: dict[int, Summary] = {}  # by place
        self._columns: dict[int, tuple[float, ...]] = {}

    def run(self) -> None:
        """Differentiate the data's loss with all hooks live, then the penalty alone.

        The graph is kept, and ``.grad`` is not touched: the script's own backward comes after.
        """
        recorder = self.recorder
        parameters = {i: p for i, (_, p) in self.names.items() if p.requires_grad}
        if not parameters:
            raise CannotCheckError(
                msg(
                    "Expected a model with trainable parameters, but none of them requires a gradient. "
                    "Unfreeze at least one: `parameter.requires_grad_(True)`."
                )
            )
        leaves = [i.leaf for i in self.inputs if i.leaf is not None]
        recorder.readers = dict(Counter(n for node in self.nodes for n in node.reads))
        recorder.measuring = True
        try:
            found = torch.autograd.grad(
                self.loss, [*parameters.values(), *leaves], retain_graph=True, allow_unused=True
            )
        finally:
            recorder.measuring = False
        found = found[: len(parameters)]
        self.gradients = {i: g for i, g in zip(parameters, found, strict=True) if g is not None}
        for term in recorder.penalties:
            if term.incoming is not None:
                self._run_penalty(term, parameters)
        self._compare_terms(list(parameters.values()))
        self._read()

    def _read(self) -> None:
        """What the host is to know of the tensors: by one read, where they are on a device."""
        ledger = self.recorder.ledger
        self.recorder.expect([parameter for _, parameter in self.names.values()])
        for own, kept in (
            (self.gradients, self._of_gradients),
            (self.penalties, self._of_penalties),
        ):
            ledger.summaries(list(own.values()), [partial(kept.__setitem__, key) for key in own])
        for place, given in enumerate(self.inputs):
            ledger.summary(given.value, partial(self._of_inputs.__setitem__, place))
            if given.value.ndim == 2 and ledger.away(given.value):
                columns = partial(self._columns_told, place)
                ledger.numbers(column_norms(given.value), columns)
        ledger.numbers(self.loss.detach().double(), self._loss_told)
        ledger.read()

    def _columns_told(self, place: int, found: list[float]) -> None:
        self._columns[place] = tuple(found)

    def _loss_told(self, found: list[float]) -> None:
        self.value = found[0]

    def _compare_terms(self, parameters: list[Any]) -> None:
        """Whether one of the losses that the loss is the sum of drowns another one."""
        losses = self.recorder.losses
        try:
            fact = dominated(losses.terms.of(self.loss), parameters)
        except Exception:  # a part of the graph that bears no second look
            return
        if fact is not None:
            losses.add(fact)

    def _run_penalty(self, term: Any, parameters: dict[int, Any]) -> None:
        value = term.term.detach() * term.incoming
        self.recorder.ledger.numbers(value.double().reshape(-1), self._penalty_told)
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

    def _penalty_told(self, found: list[float]) -> None:
        self.penalty_value += sum(found)

    def total_gradient(self, key: int) -> Any:
        """Gradient of data's loss and penalty together, None where neither reaches."""
        parts = [g[key] for g in (self.gradients, self.penalties) if key in g]
        return sum(parts[1:], parts[0]) if parts else None

    def let_go(self) -> None:
        """Nothing more is asked but the gradients: what the forward pass keeps for its backward is freed."""
        self.loss = None
        self.recorder.let_go()

    def assemble(
        self, updates: dict[int, float], optimizer: Optimizer | None, notes: tuple[str, ...]
    ) -> Probe:
        """The frozen probe. updates: parameter id -> rms of the coming update."""
        recorder = self.recorder
        outputs, head_name = where_the_budget_begins(
            self.nodes, recorder.modules.returned, recorder.number(self.loss)
        )
        if recorder.trouble is not None:
            notes += (msg("a call could not be looked into: {trouble}", trouble=recorder.trouble),)
        norms = self._norms()
        operations = [op for node in self.nodes if (op := self._operation(node, norms))]
        value = (self.value - self.penalty_value) / recorder.scale
        spec, why = self._spec(outputs)
        return Probe(
            frontend="torch",
            backend="torch",
            versions=(f"torch {torch.__version__}",),
            model=self._model_name(),
            batch_size=self._batch_size(),
            inputs=self._inputs(norms),
            outputs=tuple(Port(n, norms.get(n, 0.0)) for n in outputs),
            operations=tuple(operations),
            weights=tuple(self._weights(updates)),
            loss=self._loss(value, head_name, outputs),
            optimizer=optimizer,
            notes=notes + why,
            spec=spec,
            loss_scale=recorder.scale,
            facts=recorder.losses.take("" if optimizer is None else optimizer.name),
        )

    def _spec(self, outputs: list[int]) -> tuple[ModelSpec | None, tuple[str, ...]]:
        """The same graph to forecast from; whatever goes wrong with it, the probe stands."""
        path = path_to_any(outputs, self.nodes)
        try:
            name = self._model_name()
            return specify(self.recorder, path, self.inputs, outputs, self.names, name), ()
        except Exception as error:
            return None, (
                msg("no forecast: {kind} {error}", kind=type(error).__name__, error=error),
            )

    def _model_name(self) -> str:
        names = [type(uncompiled(root)).__name__ for root in self.roots]
        return ", ".join(dict.fromkeys(names)) or "raw tensors"

    def _batch_size(self) -> int:
        shapes = [i.value.shape for i in self.inputs if i.value.ndim]
        shapes += [node.forward.shape for node in self.nodes if node.forward and node.forward.shape]
        return int(shapes[0][0]) if shapes else 1

    def _norms(self) -> dict[int, float]:
        """Tensor number -> norm of the gradient there, by all paths."""
        scale = self.recorder.scale
        norms = {n: v / scale for n, v in self.recorder.source_gradients.items()}
        for node in self.nodes:
            for slot, number in enumerate(node.makes):
                norms[number] = node.above[slot].norm / scale if slot in node.above else 0.0
        return norms

    def _operation(self, node: RecordedCall, norms: dict[int, float]) -> Operation | None:
        scale = self.recorder.scale
        above = [node.above[slot] for slot in sorted(node.above)]
        if node.forward is None or (node.forward.shape == () and node.kind is not Kind.LOSS):
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
            backward=(together(above) if above else nothing(node.forward.shape)).scaled(1 / scale),
            weights=tuple(dict.fromkeys(self._name(p) for p in node.parameters)),
            health=node.health,
            source=node.source,
            dtype=node.dtype,
        )

    def _name(self, parameter: Any) -> str:
        found = self.names.get(id(parameter))
        return found[0] if found else "parameter"

    def _inputs(self, norms: dict[int, float]) -> tuple[Input, ...]:
        used = {n for node in self.nodes for n in node.reads}
        found = []
        for place, i in enumerate(self.inputs):
            if i.number is None:
                found.append(Input(i.name, self._of_inputs[place], None))
            elif i.number in used:
                port = Port(i.number, norms.get(i.number, 0.0))
                columns = self._columns.get(place)
                if columns is None:
                    away = self.recorder.ledger.away(i.value)
                    columns = () if away else column_rms(array(i.value))
                found.append(Input(i.name, self._of_inputs[place], port, columns))
        return tuple(found)

    def _weights(self, updates: dict[int, float]) -> list[Weight]:
        scale = self.recorder.scale
        fan_in: dict[int, float] = {}
        for node in self.nodes:
            fan_in |= node.fan_in
        found = []
        for key, (name, parameter) in self.names.items():
            gradient, penalty = self._of_gradients.get(key), self._of_penalties.get(key)
            found.append(
                Weight(
                    name=name,
                    value=self.recorder.figures(parameter),
                    fan_in=fan_in.get(key),
                    gradient=None if gradient is None else gradient.scaled(1 / scale),
                    penalty=0.0 if penalty is None else rms_or_nan(penalty) / scale,
                    update=updates.get(key),
                )
            )
        return found

    def _loss(self, value: float, head_name: str | None, outputs: list[int]) -> Loss:
        heads = [node.head for node in self.nodes if node.head is not None]
        custom = Head("custom loss", "other", "unknown", None)
        head = next((h for h in heads if h.fault is not None), heads[0] if heads else custom)
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
            summed=self.summed,
        )
