"""A differentiated function measured where it is called, compiled or not, and the probe that comes of it."""

from __future__ import annotations

import inspect
import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from evengrad.adapters.common.health import health_limits
from evengrad.adapters.jax import compat
from evengrad.adapters.jax.measure import figures
from evengrad.adapters.jax.measure.figures import FigureReader
from evengrad.adapters.jax.measure.flat import flatten
from evengrad.adapters.jax.measure.plan import Plan, PlannedOperation
from evengrad.adapters.jax.measure.rate import losses
from evengrad.adapters.jax.measure.scopes import LOSSES, ScopeMarks
from evengrad.adapters.jax.tap.trees import fan_in, layer_of, leaves
from evengrad.errors import CannotCheckError
from evengrad.values.message import msg
from evengrad.values.probe import (
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
from evengrad.values.summary import Summary, nothing, together


@dataclass(frozen=True, slots=True, eq=False)
class DifferentiatedCall:
    """A function with what it is called with, where its loss is differentiated.

    Attributes:
        function: may be traced once more.
        chosen: places of the arguments that it is differentiated by.
        given: its arguments.
        named: those by name.
        auxiliary: whether more than the loss comes back.
    """

    function: Any
    chosen: tuple[int, ...]
    given: tuple[Any, ...]
    named: dict[str, Any]
    auxiliary: bool

    @property
    def trained(self) -> dict[str, Any]:
        """The trained tensors by name."""
        if len(self.chosen) == 1:
            return leaves(self.given[self.chosen[0]])
        return leaves([self.given[place] for place in self.chosen])


class MeasuredCall:
    """Such a call, traced once more for its operations.

    Args:
        call: what is differentiated.
        marks: of the layers that are called in it.

    Attributes:
        names: of the trained tensors, as they stand in the arguments.
        shapes: of the same.
    """

    def __init__(self, call: DifferentiatedCall, marks: ScopeMarks) -> None:
        trained = call.trained
        self.names, self._weights = tuple(trained), list(trained.values())
        self.shapes = tuple(tuple(map(int, w.shape)) for w in self._weights)
        arrays, rebuild, _ = arrays_of(call)
        self._arrays = arrays

        def loss(*values: Any) -> Any:
            args, named = rebuild(values)
            found = call.function(*args, **named)
            return found[0] if call.auxiliary else found

        self.function = flatten(jax.make_jaxpr(loss)(*arrays), marks)
        places = {id(value): i for i, value in enumerate(arrays)}
        self._places = [places[id(w)] for w in self._weights]
        self.plan = Plan(self.function, [self.function.given[i] for i in self._places])
        if not self.plan.operations or not self.plan.outputs:
            raise CannotCheckError(
                msg(
                    "The loss does not depend on the weights that it is differentiated by: expected a "
                    "function in "
                    "which data meet these weights."
                )
            )
        self.traced = any(map(compat.is_traced, arrays))

    def figures(self) -> Any:
        """All that is measured, one vector."""
        zeros = self._zeros()

        def loss(zeros: Any, weights: Any) -> Any:
            return self._run(zeros, weights)

        (value, forward), (taps, gradients) = jax.value_and_grad(loss, (0, 1), has_aux=True)(
            zeros, self._weights
        )
        return self._pack(value, forward, taps, gradients)

    def losses(self, moves: Sequence[Any]) -> Any:
        """See ``rate.losses``: along these moves of the trained tensors."""
        return losses(lambda weights: self._run({}, weights)[0], self._weights, moves)

    # --- in the compiled function ----------------------------------------------------------------

    def _zeros(self) -> dict[str, Any]:
        found = {f"i{v}": v for v in self.plan.inputs}
        for number, op in enumerate(self.plan.operations):
            found |= {f"r{number},{v}": v for v in op.reads} | {f"m{v}": v for v in op.makes}
        shapes = self.function.shapes
        return {key: jnp.zeros(shapes[v].shape, shapes[v].dtype) for key, v in found.items()}

    def _run(self, zeros: Any, weights: Sequence[Any]) -> tuple[Any, dict[int, Any]]:
        arrays = list(self._arrays)
        for place, weight in zip(self._places, weights, strict=True):
            arrays[place] = weight
        values: dict[int, Any] = dict(zip(self.function.given, arrays, strict=True))
        values |= self.function.constants
        for value in self.plan.inputs:
            if value in values:
                values[value] = _plus(values[value], zeros, f"i{value}")
        owner = {id(e): (n, op) for n, op in enumerate(self.plan.operations) for e in op.equations}
        read: dict[Any, Any] = {}
        for equation in self.plan.live:
            number, op = owner.get(id(equation), (-1, None))
            given = [self._read(v, values, read, number, op, zeros) for v in equation.reads]
            for value, made in zip(
                equation.makes, compat.evaluate(equation.equation, given), strict=True
            ):
                own = _plus(made, zeros, f"m{value}") if op and value in op.makes else made
                values[value] = _plus(own, zeros, f"i{value}")
        kept = {v: values[v] for op in self.plan.operations for v in (*op.makes, *op.targets)}
        kept |= {v: values[v] for v in self.plan.inputs}
        return values[self.function.loss], kept

    def _read(self, v: Any, values: Any, read: Any, number: int, op: Any, zeros: Any) -> Any:
        if not isinstance(v, int):
            return v[0]
        if op is None or v not in op.reads:
            return values[v]
        if (number, v) not in read:
            read[number, v] = _plus(values[v], zeros, f"r{number},{v}")
        return read[number, v]

    def _pack(self, value: Any, forward: Any, taps: Any, gradients: Any) -> Any:
        parts = [jnp.asarray(value, jnp.float32).reshape(1)]
        for number, op in enumerate(self.plan.operations):
            for v in op.makes:
                parts += [figures.summary(forward[v]), figures.summary(taps[f"m{v}"])]
            limits = self._limits(op)
            if limits is not None:
                parts.append(figures.health(forward[op.makes[0]], limits))
            parts += [figures.summary(taps[f"r{number},{v}"]) for v in op.reads]
        for v in self.plan.inputs:
            parts += [figures.summary(forward[v]), figures.summary(taps[f"i{v}"])]
            parts.append(figures.columns(forward[v]))
        for weight, gradient in zip(self._weights, gradients, strict=True):
            parts += [figures.summary(weight), figures.summary(gradient)]
        labels = self._labels()
        if labels is not None:
            parts.append(figures.labels(forward[labels]))
        return jnp.concatenate(parts)

    def _limits(self, op: PlannedOperation) -> Any:
        if op.kind is not Kind.ACTIVATION or len(op.makes) != 1:
            return None
        return health_limits(op.type, self.function.shapes[op.makes[0]].shape)

    def _labels(self) -> int | None:
        loss = self.plan.loss
        if loss is None or loss.type not in LOSSES:
            return None
        shape = self.function.shapes
        found = [v for v in (*loss.targets, *loss.reads[1:]) if shape[v].shape]
        return found[0] if found else None

    # --- on the host -----------------------------------------------------------------------------

    def probe(self, packed: Any, names: Sequence[str], update: Any, about: dict[str, Any]) -> Probe:
        """What the figures say.

        Args:
            packed: what ``figures`` gave.
            names: of the trained tensors, as the user knows them.
            update: rms of the coming update of each by name; empty where not known.
            about: model, optimizer, rate and versions.
        """
        reader = FigureReader(packed)
        value = float(reader.take(1)[0])
        norms: dict[int, float] = {}
        forward: dict[int, Summary] = {}
        title = _Titles()
        operations = [
            self._operation(op, reader, names, title, norms, forward) for op in self.plan.operations
        ]
        inputs = tuple(self._input(v, i, reader) for i, v in enumerate(self.plan.inputs))
        weights = tuple(self._weight(i, names[i], reader, update) for i in range(len(names)))
        outputs = tuple(Port(v, norms[v]) for v in self.plan.outputs if v in norms)
        loss = self._loss(value, reader, forward)
        shape = self.function.shapes[self.plan.inputs[0]].shape if self.plan.inputs else (1,)
        optimizer = Optimizer(about["optimizer"], about["rate"]) if about.get("optimizer") else None
        return Probe(
            frontend="jax",
            backend="jax",
            versions=about["versions"],
            model=about["model"],
            batch_size=int(shape[0]) if shape else 1,
            inputs=inputs,
            outputs=outputs,
            operations=tuple(operations),
            weights=weights,
            loss=loss,
            optimizer=optimizer,
            notes=tuple(about.get("notes", ())),
        )

    def _operation(
        self,
        op: PlannedOperation,
        reader: FigureReader,
        names: Any,
        title: Any,
        norms: Any,
        forward: Any,
    ) -> Operation:
        shapes = self.function.shapes
        made, back = [], []
        for v in op.makes:
            forward[v] = reader.summary(shapes[v].shape)
            made.append(forward[v])
            back.append(reader.summary(shapes[v].shape))
            norms[v] = back[-1].norm
        limits = self._limits(op)
        health = None
        if limits is not None:
            health = reader.health(int(shapes[op.makes[0]].shape[-1]))
        inputs = tuple(Port(v, reader.summary(shapes[v].shape).norm) for v in op.reads)
        own = tuple(names[i] for i in op.weights)
        layer = title.layer(op, own)
        return Operation(
            name=title.unique(layer),
            layer=layer,
            kind=op.kind,
            type=op.type,
            inputs=inputs,
            outputs=tuple(Port(v, norms[v]) for v in op.makes),
            forward=together(made) if made else nothing(()),
            backward=together(back) if back else nothing(()),
            weights=own,
            health=health,
            source=op.source,
            dtype=str(shapes[op.makes[0]].dtype) if op.makes else "float32",
        )

    def _input(self, v: int, number: int, reader: FigureReader) -> Input:
        shape = self.function.shapes[v].shape
        value, gradient = reader.summary(shape), reader.summary(shape)
        wide = len(shape) == 2 and shape[1] <= 4096
        columns = tuple(reader.take(shape[1]).tolist()) if wide else ()
        name = "input" if number == 0 else f"input_{number + 1}"
        return Input(name, value, Port(v, gradient.norm), columns)

    def _weight(self, place: int, name: str, reader: FigureReader, update: Any) -> Weight:
        shape = self.shapes[place]
        value, gradient = reader.summary(shape), reader.summary(shape)
        step = update.get(name)
        step = None if step is None or not math.isfinite(step) else step
        used = any(place in op.weights for op in self.plan.operations)
        return Weight(name, value, fan_in(name, shape), gradient if used else None, update=step)

    def _loss(self, value: float, reader: FigureReader, forward: Any) -> Loss:
        made = self.plan.loss
        kind = "loss" if made is None else made.type
        family, reads = LOSSES.get(kind, ("other", "unknown"))
        targets, labels = None, self._labels()
        if labels is not None:
            low, high, whole, bad = reader.take(4).tolist()
            about = self.function.shapes[labels]
            targets = Targets(tuple(about.shape), str(about.dtype), low, high, bool(whole), bad)
        end = self.plan.outputs[0]
        output = forward.get(end)
        shape = self.function.shapes[end].shape
        head = self.plan.head if made is not None else None
        if made is None and self.plan.head in ("log_softmax", "softmax"):
            family, reads = "categorical", "logits"
        return Loss(
            name=f"optax.{kind}" if kind in LOSSES else "the loss",
            value=value,
            family=family,
            reads=reads,
            head=head,
            output=output,
            classes=int(shape[-1]) if shape else None,
            targets=targets,
        )


class _Titles:
    """Names for operations: of its weights, else of what it is, numbered."""

    def __init__(self) -> None:
        self._count = Counter[str]()
        self._names = Counter[str]()

    def layer(self, op: PlannedOperation, weights: Sequence[str]) -> str:
        """The user's word for it."""
        if weights and op.kind in (
            Kind.WEIGHTS,
            Kind.NORMALISATION,
            Kind.EMBEDDING,
            Kind.RECURRENT,
        ):
            return layer_of(weights[0])
        self._count[op.type] += 1
        return f"{op.type}_{self._count[op.type]}"

    def unique(self, layer: str) -> str:
        """The same, once."""
        self._names[layer] += 1
        return layer if self._names[layer] == 1 else f"{layer}:{self._names[layer]}"


def _plus(value: Any, zeros: Any, key: str) -> Any:
    return value + zeros[key] if key in zeros else value


def arrays_of(call: DifferentiatedCall) -> tuple[list[Any], Any, list[str]]:
    """The arrays among the arguments, what puts others in their places, and the user's names of them."""
    flat, structure = jax.tree.flatten((call.given, call.named))
    paths = jax.tree_util.tree_flatten_with_path((call.given, call.named))[0]
    words = _parameters(call.function)
    places = [i for i, leaf in enumerate(flat) if _is_array(leaf)]

    def rebuild(values: Sequence[Any]) -> Any:
        filled = list(flat)
        for place, value in zip(places, values, strict=True):
            filled[place] = value
        return jax.tree.unflatten(structure, filled)

    return [flat[i] for i in places], rebuild, [_word(paths[i][0], words) for i in places]


def _parameters(function: Any) -> list[str]:
    try:
        return list(inspect.signature(function).parameters)
    except (TypeError, ValueError):
        return []


def _word(path: Any, words: list[str]) -> str:
    """As the user would write it: ``batch['image']``."""
    by_name, place, *rest = path
    if by_name.idx:
        first = str(place.key)
    else:
        first = words[place.idx] if place.idx < len(words) else f"argument {place.idx + 1}"
    return first + jax.tree_util.keystr(tuple(rest))


def _is_array(leaf: Any) -> bool:
    return compat.is_traced(leaf) or isinstance(leaf, jax.Array | np.ndarray | np.generic)
