"""The traced graph run on the real batch, operation by operation, with a tap at each tensor."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import keras

from evengrad.adapters.keras import compat
from evengrad.adapters.keras.backend.differentiate import TensorTap
from evengrad.adapters.keras.trace.kinds import activation_name
from evengrad.adapters.keras.trace.trace import Trace, TracedCall, symbolic
from evengrad.errors import CannotCheckError
from evengrad.values.message import msg
from evengrad.values.spec import Kind

_MISSING = object()


@dataclass(slots=True, eq=False)
class ReplayedStep:
    """One operation as it ran.

    Attributes:
        name: unique.
        layer: the user's own name.
        kind: what it is in evengrad's words.
        type: what it is in Keras'.
        reads: (tensor number, key of the gradient through it alone) of each input.
        makes: tensor numbers.
        call: what was traced.
        weights: variables that it uses.
    """

    name: str
    layer: str
    kind: Kind
    type: str
    reads: list[tuple[int, str]]
    makes: list[int]
    call: TracedCall
    weights: list[Any] = field(default_factory=list)


class Replay:
    """Runs a trace. steps: what ran, filled by each run. loss: (outputs, data) -> scalar, unreduced
    by nothing.

    Within a run nothing is assigned: variables have the values that they are given.
    """

    def __init__(
        self,
        trace: Trace,
        variables: tuple[list[Any], list[Any]],
        loss: Callable[[Any, Any], Any],
    ) -> None:
        self.trace = trace
        self.steps: list[ReplayedStep] = []
        self._variables = [*variables[0], *variables[1]]
        self._loss = loss
        self._numbers: dict[int, int] = {}
        self._inputs = keras.tree.flatten(trace.inputs)
        for tensor in [*self._inputs, *(t for call in trace.calls for t in call.outputs)]:
            self._numbers.setdefault(id(tensor), len(self._numbers))
        self._next = len(self._numbers)
        self._inner: dict[str, int] = {}  # fused layers' own tensor, between weights and slope
        self._active = self._gradient_carriers()
        readers = Counter(
            id(t) for call in trace.calls if self._differentiable(call) for t in call.reads()
        )
        readers.update(id(t) for t in keras.tree.flatten(trace.outputs))
        self._shared = {i for i, count in readers.items() if count > 1}

    def number(self, tensor: Any) -> int:
        """Number of a symbolic tensor."""
        return self._numbers[id(tensor)]

    def run(
        self, tap: TensorTap, weights: list[Any], others: list[Any], data: Any
    ) -> tuple[Any, Any]:
        """Forward: (loss, tensor number -> tensor)."""
        self.steps = []
        kept: dict[str, Any] = {}
        values: dict[int, Any] = {}
        mapping = list(zip(self._variables, [*weights, *others], strict=True))
        with keras.StatelessScope(state_mapping=mapping):
            for leaf, value in zip(self._inputs, keras.tree.flatten(data[0]), strict=True):
                values[id(leaf)] = self._tapped(tap, leaf, value, kept)
            for call in self.trace.calls:
                self._call(call, values, tap, kept)
            outputs = keras.tree.map_structure(lambda t: values[id(t)], self.trace.outputs)
            for leaf, value in zip(
                keras.tree.flatten(self.trace.outputs), keras.tree.flatten(outputs), strict=True
            ):
                if compat.mask_of(leaf) is None and compat.mask_of(value) is not None:
                    compat.set_mask(value, None)
            loss = self._loss(outputs, data)
        if len(loss.shape):
            raise CannotCheckError(
                msg(
                    "Expected the loss to be a scalar, got shape {shape}. Leave the reduction "
                    'of the loss at "sum_over_batch_size".',
                    shape=tuple(loss.shape),
                )
            )
        return loss, kept

    def _call(
        self, call: TracedCall, values: dict[int, Any], tap: TensorTap, kept: dict[str, Any]
    ) -> None:
        differentiable = self._differentiable(call)
        reads: list[tuple[int, str]] = []
        replaced: dict[int, Any] = {}
        for tensor in call.reads() if differentiable else ():
            if id(tensor) not in self._active or id(tensor) not in values:
                continue
            number = self.number(tensor)
            key = str(number)
            if id(tensor) in self._shared:
                key = f"{number}>{call.name}"
                replaced[id(tensor)] = _masked(
                    tap(key, values[id(tensor)], True), values[id(tensor)]
                )
            reads.append((number, key))

        def fill(value: Any) -> Any:
            if not symbolic(value):
                return value
            return replaced.get(id(value), values.get(id(value)))

        args = keras.tree.map_structure(fill, call.args)
        kwargs = keras.tree.map_structure(fill, call.kwargs)
        inner = f"{call.name}>inner"
        with recorded_activation(call, lambda z: tap(inner, z)) as seen:
            out = call.operation(*args, **kwargs)
        results = keras.tree.flatten(out)
        for leaf, value in zip(call.outputs, results, strict=True):
            values[id(leaf)] = self._tapped(tap, leaf, value, kept)
        if not differentiable:
            return
        makes = [self.number(t) for t in call.outputs if id(t) in self._active]
        step = ReplayedStep(
            call.name, call.layer, call.kind, call.type, reads, makes, call, call.variables()
        )
        self.steps.append(step)
        if len(seen) == 1 and len(results) == 1 and seen[0][1] is results[0]:
            self._split(step, seen[0][0], inner, kept)

    def _split(self, step: ReplayedStep, z: Any, key: str, kept: dict[str, Any]) -> None:
        """Two steps of a fused layer: its weights, then its slope."""
        number = self._inner.setdefault(step.name, self._next + len(self._inner))
        kept[str(number)] = z
        function = activation_name(step.call.operation.activation)
        slope = ReplayedStep(
            f"{step.name}.{function}",
            step.layer,
            Kind.ACTIVATION,
            function,
            [(number, key)],
            step.makes,
            step.call,
        )
        step.makes = [number]
        self.steps.append(slope)

    def inner_key(self, number: int) -> str:
        """The tap of a tensor: its number, or a fused layer's inner one."""
        for name, inner in self._inner.items():
            if inner == number:
                return f"{name}>inner"
        return str(number)

    def _tapped(self, tap: TensorTap, leaf: Any, value: Any, kept: dict[str, Any]) -> Any:
        if id(leaf) not in self._active:
            return value
        key = str(self.number(leaf))
        tapped = _masked(tap(key, value), value)
        kept[key] = tapped
        return tapped

    def _gradient_carriers(self) -> set[int]:
        """Float tensors that come from float inputs or from weights."""
        active = {id(t) for t in self._inputs if _is_float(t)}
        for call in self.trace.calls:
            if call.variables() or any(id(t) in active for t in call.reads()):
                active.update(id(t) for t in call.outputs if _is_float(t))
        return active

    def _differentiable(self, call: TracedCall) -> bool:
        return any(id(t) in self._active for t in call.outputs)


@contextmanager
def recorded_activation(
    call: TracedCall, tap: Callable[[Any], Any]
) -> Iterator[list[tuple[Any, Any]]]:
    """While it lasts, a fused layer's activation is tapped and noted as (z, activation(z))."""
    layer, seen = call.operation, []  # type: ignore[var-annotated]
    activation = getattr(layer, "activation", None) if call.kind is Kind.WEIGHTS else None
    if not callable(activation) or activation is keras.activations.linear:
        yield seen
        return

    def recording(z: Any, *args: Any, **kwargs: Any) -> Any:
        z = tap(z)
        seen.append((z, activation(z, *args, **kwargs)))
        return seen[-1][1]

    own = layer.__dict__.get("activation", _MISSING)
    layer.__dict__["activation"] = recording
    try:
        yield seen
    finally:
        if own is _MISSING:
            del layer.__dict__["activation"]
        else:
            layer.__dict__["activation"] = own


def _masked(tensor: Any, like: Any) -> Any:
    mask = compat.mask_of(like)
    if tensor is not like and mask is not None:
        compat.set_mask(tensor, mask)
    return tensor


def _is_float(tensor: Any) -> bool:
    return bool(keras.backend.is_float_dtype(tensor.dtype))
