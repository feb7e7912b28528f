"""From a trace to a ModelSpec: the same steps, under the same names, as a replay of it."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import keras

from evengrad.adapters.keras import compat
from evengrad.adapters.keras.measure.measure import HEADS, input_names
from evengrad.adapters.keras.spec.draft import LayerDraft, RuleResult, SpecTable, renumbered
from evengrad.adapters.keras.spec.layers import rule_of
from evengrad.adapters.keras.spec.operations import OPERATIONS
from evengrad.adapters.keras.spec.pointwise import activation, fallback
from evengrad.adapters.keras.trace.kinds import activation_name
from evengrad.adapters.keras.trace.trace import Trace, TracedCall, opened, symbolic
from evengrad.adapters.keras.trace.weights import fan_in, names_of, trainables
from evengrad.errors import CannotCheckError
from evengrad.values.message import msg
from evengrad.values.spec import (
    Composite,
    Embedding,
    InputSpec,
    Kind,
    Law,
    ModelSpec,
    Node,
    Opaque,
    WeightSpec,
)
from evengrad.values.summary import Summary

_DEEPEST = 4  # custom layers within custom layers


def specify(model: Any, trace: Trace, known: dict[str, Summary] | None = None) -> ModelSpec:
    """The spec of a traced model. known: figures of weights by their name in a probe, if measured already.

    Raises CannotCheckError where a shape is not known.
    """
    return _Specifying(model, trace, known or {}).spec()


class _Specifying:
    """One spec in the making."""

    def __init__(self, model: Any, trace: Trace, known: dict[str, Summary]) -> None:
        self.model, self.trace = model, trace
        self.table = SpecTable(notes=list(trace.notes))
        self.weighed = trainables(model)
        self.names = names_of(model, [v for v, _ in self.weighed])
        for key, name in self.names.items():
            if name in known:
                self.table.known[key] = known[name]
        for layer in compat.layers_of(model):  # owners first, so that the innermost stays
            self.table.owners.update((id(v), layer) for v in layer.variables)
        self.leaves = keras.tree.flatten(trace.inputs)
        self.active: set[int] = set()

    def spec(self) -> ModelSpec:
        self._expect_inside()
        inputs = self._inputs()
        nodes: list[Node] = []
        self.table.read.update(read_by(self.trace))
        self._expect_shapes()
        for call in self.trace.calls:
            if self._differentiable(call):
                nodes += self._nodes(call)
            else:
                self._constants(call)
        weights = tuple(self._weight(v, layer) for v, layer in self.weighed)
        outputs = self._ends(nodes)
        self._fill(nodes, inputs)
        numbers = self._numbers(nodes, inputs, outputs)
        constants = self.table.constants
        return ModelSpec(
            frontend="keras",
            backend=keras.backend.backend(),
            versions=versions(),
            model=model_name(self.model),
            tensors=tuple(self.table.shapes[t] for t in numbers),
            inputs=tuple(replace(i, tensor=numbers[i.tensor]) for i in inputs),
            outputs=tuple(numbers[t] for t in outputs),
            nodes=tuple(renumbered(node, numbers) for node in nodes),
            weights=weights,
            constants={numbers[t]: law for t, law in constants.items() if t in numbers},
            notes=tuple(self.table.notes),
        )

    def _fill(self, nodes: Sequence[Node], inputs: Sequence[InputSpec]) -> None:
        """Integers and masks that a node reads, made by operations that are not in the spec."""
        made = {i.tensor for i in inputs} | set(self.table.constants)
        for node in simple(nodes):
            for tensor in set(node.inputs) - made:
                self.table.constants[tensor] = Law(0.5, math.sqrt(0.5), "of integers")
                if not isinstance(node.op, Embedding):
                    self.table.note(
                        msg(
                            "{name} reads a mask, taken for half ones and half zeros",
                            name=node.name,
                        )
                    )
            made.update(node.outputs)

    @staticmethod
    def _numbers(
        nodes: Sequence[Node], inputs: Sequence[InputSpec], outputs: Sequence[int]
    ) -> dict[int, int]:
        """Of the tensors that are in use, in the order in which they are met."""
        met = [i.tensor for i in inputs]
        for node in simple(nodes):
            met += [*node.inputs, *node.outputs]
        return {t: i for i, t in enumerate(dict.fromkeys([*met, *outputs]))}

    def _expect_shapes(self) -> None:
        for call in self.trace.calls:
            for tensor in call.outputs:
                if any(n is None for n in tensor.shape):
                    raise CannotCheckError(
                        msg(
                            "Expected every length to be known, but {name} makes a tensor of shape "
                            "{shape}. Give dynamic lengths a figure: input_shape=(...).",
                            name=call.name,
                            shape=tuple(tensor.shape),
                        )
                    )

    def _expect_inside(self) -> None:
        if any(call.operation is self.model for call in self.trace.calls):
            reason = self.trace.notes[-1].rpartition("could not be followed: ")[2].rstrip(".")
            raise CannotCheckError(
                msg(
                    "{kind} cannot be followed on symbolic inputs: {reason}. `evengrad "
                    "check` measures it on a batch as one operation; keras.ops in its call() would open it.",
                    kind=type(self.model).__name__,
                    reason=reason,
                )
            )

    def _inputs(self) -> tuple[InputSpec, ...]:
        names = input_names(self.trace.inputs, len(self.leaves))
        made = []
        for name, leaf in zip(names, self.leaves, strict=True):
            readers = [c for c in self.trace.calls if any(t is leaf for t in c.reads())]
            ids = bool(readers) and all(c.kind is Kind.EMBEDDING for c in readers)
            integer = ids or not _is_float(leaf)
            if not integer:
                self.active.add(id(leaf))
            made.append(InputSpec(name, self.table.number(leaf), integer))
        return tuple(made)

    def _differentiable(self, call: TracedCall) -> bool:
        """As ``Replay`` has it: a gradient comes here."""
        if call.variables() or any(id(t) in self.active for t in call.reads()):
            self.active.update(id(t) for t in call.outputs if _is_float(t))
        return any(id(t) in self.active for t in call.outputs)

    def _constants(self, call: TracedCall) -> None:
        """What comes from integers alone (masks, positions) carries no gradient."""
        for tensor in call.outputs:
            number = self.table.number(tensor)
            if not _is_float(tensor):
                self.table.dark.add(number)
            else:
                self.table.constants[number] = Law(1.0, 1.0, "of integers")
                self.table.note(
                    msg(
                        "the values that {name} makes of integers are taken for ones",
                        name=call.name,
                    )
                )

    def _nodes(self, call: TracedCall) -> list[Node]:
        outputs = [self.table.number(t) for t in call.outputs]
        names = [self.names[id(v)] for v in call.variables() if id(v) in self.names]
        draft = LayerDraft(self.table, call)
        results = _results(draft)
        function = _fused(call)
        if function is None or isinstance(draft.nodes[-1].op, Opaque):
            return [draft.node(results, outputs, names)]
        return self._split(draft, results[0], outputs[0], function, names)

    def _split(
        self, draft: LayerDraft, z: int, output: int, function: Any, names: Sequence[str]
    ) -> list[Node]:
        """A fused layer's weights, then its slope, as ``Replay`` has them."""
        linear = draft.node([z], [z], names)
        op = activation(function, len(self.table.shapes[z]))
        word = activation_name(function)
        name = f"{draft.call.name}.{word}"
        if isinstance(op, Opaque):
            self.table.note(msg("{name} has no rule: {reason}", name=name, reason=op.reason))
        slope = Node(
            name=name,
            layer=draft.call.layer,
            kind=Kind.ACTIVATION,
            type=word,
            op=op,
            inputs=(z,),
            outputs=(output,),
            source=draft.call.source,
        )
        return [linear, slope]

    def _weight(self, variable: Any, layer: Any) -> WeightSpec:
        law = self.table.law(variable)
        shape = tuple(int(n) for n in variable.shape)
        return WeightSpec(self.names[id(variable)], shape, law, fan_in(variable, layer))

    def _ends(self, nodes: Sequence[Node]) -> tuple[int, ...]:
        """The outputs, before a closing softmax or sigmoid."""
        makers = {t: node for node in nodes for t in node.outputs}
        ends = []
        for leaf in keras.tree.flatten(self.trace.outputs):
            number = self.table.number(leaf)
            maker = makers.get(number)
            if maker is not None and maker.type in HEADS and len(maker.inputs) == 1:
                ends.append(maker.inputs[0])
            elif id(leaf) in self.active:
                ends.append(number)
        return tuple(ends)


def _results(draft: LayerDraft, depth: int = 0) -> list[int]:
    """The numbers of what a call makes, by its rule; opaque where there is none."""
    start = len(draft.table.shapes)
    try:
        result = _ruled(draft, depth)
    except CannotCheckError:
        raise
    except Exception as error:
        del draft.table.shapes[start:]
        result = draft.opaque(f"{type(error).__name__}: {str(error)[:80]}")
    results = [result] if isinstance(result, int) else result
    wanted = [tuple(int(n) for n in t.shape) for t in draft.call.outputs]
    if [draft.shape(r) for r in results] != wanted[: len(results)]:
        found = [draft.shape(r) for r in results]
        return list(
            draft.opaque(
                msg("its rule makes {found}, it makes {wanted}", found=found, wanted=wanted)
            )
        )
    return results


def _ruled(draft: LayerDraft, depth: int) -> RuleResult:
    call = draft.call
    layer = isinstance(call.operation, keras.layers.Layer)
    rule = rule_of(call.operation) if layer else OPERATIONS.get(call.type)
    if rule is not None:
        return rule(draft)
    if layer and depth < _DEEPEST:
        found = _inside(draft, depth)
        if found is not None:
            return found
    tried = fallback(draft)
    return draft.opaque(msg("{type} is not known", type=call.type)) if tried is None else tried


def _inside(draft: LayerDraft, depth: int) -> RuleResult | None:
    """A custom layer by what its ``call`` does; None where that cannot be followed."""
    call = draft.call
    try:
        trace = opened(call.operation, call.args, call.kwargs)
    except Exception:
        return None
    outer, inner = (
        [t for t in keras.tree.flatten(v) if symbolic(t)]
        for v in ((call.args, call.kwargs), trace.inputs)
    )
    table = draft.table
    for a, b in zip(outer, inner, strict=True):
        table.numbers[id(b)] = table.number(a)
    table.alive += inner
    table.read.update(read_by(trace))
    for note in trace.notes:
        table.note(note)
    for part in trace.calls:
        within = LayerDraft(table, part)
        results = _results(within, depth + 1)
        for tensor, number in zip(part.outputs, results, strict=False):
            table.numbers[id(tensor)] = number
            table.alive.append(tensor)
        draft.nodes += within.nodes
        function = _fused(part)
        if function is not None:
            _activated(draft, part, function)
    return [table.number(t) for t in keras.tree.flatten(trace.outputs)]


def read_by(trace: Trace) -> set[int]:
    """The symbolic tensors that a call reads, or that are results."""
    found = {id(t) for call in trace.calls for t in call.reads()}
    return found | {id(t) for t in keras.tree.flatten(trace.outputs)}


def simple(nodes: Sequence[Node]) -> Iterator[Node]:
    """All nodes, composites by what is inside them."""
    for node in nodes:
        if isinstance(node.op, Composite):
            yield from simple(node.op.nodes)
        else:
            yield node


def _activated(draft: LayerDraft, part: TracedCall, function: Any) -> None:
    tensor = part.outputs[0]
    z = draft.table.number(tensor)
    op = activation(function, draft.rank(z))
    draft.table.numbers[id(tensor)] = draft.emit(op, z, shape=draft.shape(z))


def _fused(call: TracedCall) -> Any:
    """The activation within a layer with weights, None if there is none."""
    function = getattr(call.operation, "activation", None) if call.kind is Kind.WEIGHTS else None
    if not callable(function) or function is keras.activations.linear:
        return None
    return function


def _is_float(tensor: Any) -> bool:
    return bool(keras.backend.is_float_dtype(tensor.dtype))


def model_name(model: Any) -> str:
    """The user's class, or the name of a plain Functional or Sequential model."""
    own = not type(model).__module__.startswith("keras.")
    return str(type(model).__name__ if own else model.name)


def versions() -> tuple[str, ...]:
    """Of Keras and of its backend."""
    name = keras.backend.backend()
    return (
        f"keras {keras.__version__}",
        f"{name} {__import__(name).__version__}",
    )
