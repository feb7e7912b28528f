"""A model as a graph of leaf operations: the model called on symbolic tensors, its blocks opened."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import keras
from keras.layers import Layer

from evengrad.adapters.common.patching import Patches
from evengrad.adapters.keras import compat
from evengrad.adapters.keras.backend.differentiate import native_functions_seen
from evengrad.adapters.keras.trace.kinds import (
    is_keras_layer,
    kind_of_layer,
    kind_of_operation,
    snake,
    type_of_layer,
)
from evengrad.values.message import msg
from evengrad.values.spec import Kind

_OURS = os.path.join(str(Path(__file__).parents[3]), "")
_KERAS = os.path.join(os.path.dirname(keras.__file__), "")


@dataclass(slots=True, eq=False)
class TracedCall:
    """One leaf operation, called once. args, kwargs: with symbolic tensors in them."""

    operation: Any
    args: Any
    kwargs: Any
    outputs: list[Any]
    name: str
    layer: str
    kind: Kind
    type: str
    source: str | None = None

    def reads(self) -> list[Any]:
        """Its symbolic inputs, each once."""
        found = {id(t): t for t in keras.tree.flatten((self.args, self.kwargs)) if symbolic(t)}
        return list(found.values())

    def variables(self) -> list[Any]:
        """The variables that it computes with."""
        own = list(getattr(self.operation, "trainable_variables", ()))
        return own + [
            v
            for v in keras.tree.flatten((self.args, self.kwargs))
            if isinstance(v, compat.Variable)
        ]


@dataclass(slots=True)
class Trace:
    """inputs, outputs: structures of symbolic tensors. calls: in an order in which they can run."""

    inputs: Any
    outputs: Any
    calls: list[TracedCall]
    notes: list[str] = field(default_factory=list)


def symbolic(value: Any) -> bool:
    """Whether it is a symbolic tensor."""
    return isinstance(value, keras.KerasTensor)


def trace(model: Any, x: Any) -> Trace:
    """Call a built model on symbolic tensors of the batch's shapes, in training mode.

    Layers made of layers are opened; a block that cannot be (it calls the backend's own functions)
    stays one operation, with a note. The model's own graph is as it was afterwards.
    """
    inputs = keras.tree.map_structure(
        lambda v: keras.KerasTensor(tuple(v.shape), keras.backend.standardize_dtype(v.dtype)), x
    )
    tracer = _Tracer(model)
    with tracer.active(), native_functions_seen(), keras.StatelessScope():
        training = {"training": True} if compat.takes_training(model) else {}
        outputs = tracer.plain(model(inputs, **training))
    return Trace(inputs, outputs, _needed(tracer.calls, outputs), tracer.notes)


def opened(layer: Any, args: Any, kwargs: Any) -> Trace:
    """What a layer that is one operation computes inside: its ``call`` on symbolic tensors.

    What it makes of its weights alone (a standardised kernel) is a constant there. Raises what the call
    raises.
    """

    def fresh(value: Any) -> Any:
        return keras.KerasTensor(value.shape, value.dtype) if symbolic(value) else value

    if not compat.takes_training(layer):
        kwargs = {k: v for k, v in kwargs.items() if k != "training"}
    args, kwargs = keras.tree.map_structure(fresh, (args, kwargs))
    tracer = _Tracer(layer)
    with tracer.active(), native_functions_seen(), keras.StatelessScope():
        outputs = tracer.plain(tracer.inside(layer, args, kwargs))
    return Trace((args, kwargs), outputs, _needed(tracer.calls, outputs), tracer.notes)


class _Tracer:
    """Listens to every node that Keras makes while a model is called on symbolic tensors."""

    def __init__(self, model: Any) -> None:
        self.model = model
        self.calls: list[TracedCall] = []
        self.notes: list[str] = []
        self._nodes: list[Any] = []
        self._open: list[Any] = []  # blocks being called, outermost first
        self._opened: list[Any] = []  # blocks just called, whose node is to be left out
        self._resolved: dict[int, Any] = {}
        self._inside_leaf = 0
        self._names: dict[str, int] = {}
        self._same: dict[int, Any] = {}  # a tensor that Keras only passed on -> the tensor itself
        self._symbolic_call: Any = None  # Keras' own, from ``active`` on
        self._init: Any = None

    @contextmanager
    def active(self) -> Iterator[None]:
        """While it lasts, every node that Keras makes is noted."""
        tracer = self

        def calling(original: Any) -> Any:
            tracer._symbolic_call = original
            return lambda layer, *args, **kwargs: tracer._enter(layer, args, kwargs)

        def making(original: Any) -> Any:
            tracer._init = original

            def init(
                node: Any,
                operation: Any,
                call_args: Any = None,
                call_kwargs: Any = None,
                outputs: Any = None,
            ) -> None:
                tracer._record(node, operation, call_args, call_kwargs, outputs)

            return init

        def adding(_: Any) -> Any:
            def add_loss(layer: Any, *_: Any) -> None:
                tracer._note(
                    msg("what {path} adds by add_loss() is left out", path=tracer._path(layer))
                )

            return add_loss

        with Patches() as patches:
            patches.wrap(Layer, "symbolic_call", calling)
            patches.wrap(compat.node_class(), "__init__", making)
            patches.wrap(Layer, "add_loss", adding)
            patches.on_undo(lambda: compat.unlink(self._nodes))
            yield

    def _note(self, text: str) -> None:
        if text not in self.notes:
            self.notes.append(text)

    def _enter(self, layer: Any, args: Any, kwargs: Any) -> Any:
        """Call a leaf for its output's shape only; run a block's own ``call``."""
        if self._inside_leaf or not _is_block(layer):
            return self._leaf(layer, args, kwargs)
        calls, opened, names = len(self.calls), len(self._opened), dict(self._names)
        self._open.append(layer)
        try:
            outputs = layer.call(*args, **kwargs)
            if not all(symbolic(t) for t in keras.tree.flatten(outputs)):
                raise TypeError("it returns something that does not hang on its input")
            self._expect_weights_seen(layer, self.calls[calls:])
        except Exception as error:
            del self.calls[calls:], self._opened[opened:]
            self._names = names
            outputs = None
            reason = _in_a_line(error)
        finally:
            self._open.pop()
        if outputs is None:
            self.notes.append(
                msg(
                    "{path} ({kind}) is measured as one operation, its inside "
                    "could not be followed: {reason}",
                    path=self._path(layer),
                    kind=type(layer).__name__,
                    reason=reason,
                )
            )
            return self._leaf(layer, args, kwargs)
        self._opened.append(layer)
        return outputs

    def _leaf(self, layer: Any, args: Any, kwargs: Any) -> Any:
        self._inside_leaf += 1
        try:
            self._resolved[id(layer)] = kwargs
            return _completed(layer, args, self._symbolic_call(layer, *args, **kwargs))
        finally:
            self._inside_leaf -= 1

    def inside(self, layer: Any, args: Any, kwargs: Any) -> Any:
        """The result of a layer's own ``call``, each operation in it noted."""
        self._open.append(layer)
        outputs = layer.call(*args, **kwargs)
        if not all(symbolic(t) for t in keras.tree.flatten(outputs)):
            raise TypeError("it returns something that does not hang on its input")
        return outputs

    @staticmethod
    def _expect_weights_seen(layer: Any, calls: list[TracedCall]) -> None:
        """A block's own variable, read outside of Keras' operations, would count as a constant."""
        seen = {id(v) for call in calls for v in call.variables()}
        for variable in compat.own_weights(layer):
            if id(variable) not in seen:
                raise TypeError(f"it reads its weight {variable.name!r} directly")

    def _record(self, node: Any, operation: Any, args: Any, kwargs: Any, outputs: Any) -> None:
        if self._opened and self._opened[-1] is operation:
            self._opened.pop()
            return
        self._init(node, operation, call_args=args, call_kwargs=kwargs, outputs=outputs)
        self._nodes.append(node)
        if self._inside_leaf:
            return
        flat = list(node.outputs)
        for tensor in flat:
            compat.dense_tensor(tensor)
        args, kwargs = self.plain((args or (), kwargs or {}))
        if snake(type(operation).__name__) in _PASSED_ON and args[0].dtype == flat[0].dtype:
            self._same[id(flat[0])] = args[0]
            return
        if isinstance(operation, Layer):
            resolved = self._resolved.pop(id(operation), {})
            extra = {k: v for k, v in resolved.items() if kwargs.get(k) is None and v is not None}
            self.calls.append(
                self._layer_call(operation, args, {**kwargs, **self.plain(extra)}, flat)
            )
        else:
            self.calls.append(self._operation_call(operation, args, kwargs, flat))

    def plain(self, structure: Any) -> Any:
        """Arguments with the tensors that Keras only passed on in place of their copies."""
        return keras.tree.map_structure(lambda t: self._same.get(id(t), t), structure)

    def _layer_call(self, layer: Any, args: Any, kwargs: Any, outputs: list[Any]) -> TracedCall:
        kind, path = kind_of_layer(layer), self._path(layer)
        if layer.activity_regularizer is not None:
            self._note(
                msg("the activity regulariser of {path} is left out of the data's loss", path=path)
            )
        kind_name = type_of_layer(layer, kind)
        source = self._source()
        return TracedCall(
            layer, args, kwargs, outputs, self._unique(path), path, kind, kind_name, source
        )

    def _operation_call(
        self, operation: Any, args: Any, kwargs: Any, outputs: list[Any]
    ) -> TracedCall:
        flat = keras.tree.flatten((args, kwargs))
        read = len({id(t) for t in flat if symbolic(t)})
        weighted = any(isinstance(v, compat.Variable) for v in flat)
        name = type(operation).__name__
        kind = kind_of_operation(name, inputs=read, weighted=weighted)
        block = "/".join(_labels(self._open))
        name = self._unique(f"{block}/{snake(name)}" if block else snake(name))
        word = snake(type(operation).__name__)
        return TracedCall(operation, args, kwargs, outputs, name, name, kind, word, self._source())

    def _path(self, layer: Any) -> str:
        return "/".join(_labels([*self._open, layer])) or layer.name

    def _unique(self, name: str) -> str:
        self._names[name] = self._names.get(name, 0) + 1
        return name if self._names[name] == 1 else f"{name}_{self._names[name]}"

    def _source(self) -> str | None:
        """Where the innermost user-written ``call`` made this call."""
        frame: Any = sys._getframe(3)
        while frame is not None and frame.f_code.co_name != "_enter":
            file = frame.f_code.co_filename
            if "site-packages" not in file and not file.startswith((_OURS, _KERAS, "<")):
                return f"{os.path.basename(file)}:{frame.f_lineno}"
            frame = frame.f_back
        return None


def _completed(layer: Any, args: Any, output: Any) -> Any:
    """An EinsumDense told output_shape=(None, ...) forgets lengths that its input has."""
    equation = getattr(layer, "equation", None)
    if not (symbolic(output) and None in output.shape and isinstance(equation, str)):
        return output
    source, result = equation.split("->")[0].split(",")[0], equation.split("->")[1]
    if "." not in equation:
        sizes = dict(zip(source, args[0].shape, strict=True))
        lengths = [
            sizes.get(c) if n is None else n for c, n in zip(result, output.shape, strict=True)
        ]
        compat.reshape_symbol(output, lengths)
    return output


_PASSED_ON = {"convert_to_tensor"}


def _in_a_line(error: Exception) -> str:
    """What is at the bottom of an error, without Keras' account of the arguments."""
    text = re.sub(r"\x1b\[[0-9;]*m", "", str(error)).split("Arguments received by")[0]
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    lines = [line for line in lines if not line.startswith("Exception encountered")] or lines
    return (lines or [type(error).__name__])[0][:200]


def _is_block(layer: Any) -> bool:
    return (
        bool(compat.own_layers(layer))
        and not is_keras_layer(layer)
        and kind_of_layer(layer) is Kind.OTHER
    )


def _labels(path: list[Any]) -> Iterator[str]:
    """The user's names along a path of nested layers, the model's own left out."""
    for owner, layer in pairwise(path):
        yield _label(owner, layer)


def _label(owner: Any, layer: Any) -> str:
    """A layer's given name, or, where Keras made one up, the attribute that holds it."""
    made_up = re.fullmatch(rf"{compat.snake_case(type(layer).__name__)}(_\d+)?", layer.name)
    if made_up and not isinstance(owner, keras.Sequential):
        for name, value in vars(owner).items():
            if value is layer and not name.startswith("_"):
                return name
        return compat.module_name(owner, layer) or str(layer.name)
    return str(layer.name)


def _needed(calls: list[TracedCall], outputs: Any) -> list[TracedCall]:
    """The calls that the outputs hang on."""
    wanted = {id(t) for t in keras.tree.flatten(outputs)}
    kept: list[TracedCall] = []
    for call in reversed(calls):
        if any(id(t) in wanted for t in call.outputs):
            kept.append(call)
            wanted.update(id(t) for t in call.reads())
    return kept[::-1]
