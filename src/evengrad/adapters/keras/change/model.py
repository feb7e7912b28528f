"""A live network as the changes see it: its layers by their names, and its head."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property, wraps
from typing import Any

import keras
import numpy as np
from keras.layers import Layer

from evengrad.adapters.keras import compat
from evengrad.adapters.keras.backend.state import is_built, untouched
from evengrad.adapters.keras.trace.trace import Trace, TracedCall, trace
from evengrad.errors import CannotChangeError
from evengrad.values.spec import Kind

_PASSED = (Kind.ACTIVATION, Kind.RESHAPE, Kind.DROPOUT)


class LiveModel:
    """A live model and what is known of its graph.

    Args:
        model: the script's own.
        x: inputs of a batch, or None.
        note: takes one line for the user.

    Attributes:
        slower: variables that move at a part of the rate, and that part.
        batch_ends: called with the logs of each batch of ``fit``.
    """

    def __init__(
        self, model: Any, x: Any = None, note: Callable[[str], None] = lambda _: None
    ) -> None:
        self.model, self.note = model, note
        self.slower: tuple[list[Any], float] = ([], 1.0)
        self.batch_ends: list[Callable[[dict[str, Any]], None]] = []
        self._x = x
        if not self._built and x is not None:
            compat.symbolic_result(model, self._symbols(), training=False)

    @property
    def _built(self) -> bool:
        return is_built(self.model)

    @cached_property
    def trace(self) -> Trace:
        """The model as it was before the first change."""
        try:
            with untouched(self.model):
                return trace(self.model, self._symbols())
        except CannotChangeError:
            raise
        except Exception as error:
            raise CannotChangeError(
                f"{type(self.model).__name__} cannot be followed on symbolic inputs "
                f"({type(error).__name__}: {error}); make the change in the script."
            ) from error

    def batch(self) -> Any:
        """The inputs of the first batch."""
        if self._x is None:
            raise CannotChangeError("The first batch cannot be read before the training takes it.")
        return keras.tree.map_structure(
            lambda v: None if v is None else keras.ops.convert_to_tensor(v), self._x
        )

    def call(self, name: str) -> TracedCall:
        """Where the layer of this name is called first."""
        weighted = [c for c in self.trace.calls if c.kind is Kind.WEIGHTS]
        for call in weighted:
            if call.layer == name and isinstance(call.operation, Layer):
                return call
        known = ", ".join(dict.fromkeys(c.layer for c in weighted)) or "none"
        raise CannotChangeError(
            f"{type(self.model).__name__} has no layer {name!r} with weights of its own; it has {known}."
        )

    @cached_property
    def head(self) -> dict[int, Any]:
        """Operations from the last weights to the outputs, by their id: their activations are the loss head."""
        makers = {id(t): call for call in self.trace.calls for t in call.outputs}
        found: dict[int, Any] = {}
        left = keras.tree.flatten(self.trace.outputs)
        while left:
            call = makers.get(id(left.pop()))
            if call is None:
                continue
            wrapped = _wrapped(call.operation)  # TimeDistributed
            if call.kind in (*_PASSED, Kind.WEIGHTS) or len(wrapped) == 1:
                found |= {id(o): o for o in (call.operation, *wrapped)}
            if call.kind in _PASSED:
                left.extend(call.reads())
        return found

    def _symbols(self) -> Any:
        known = self._x
        if known is None:
            known = compat.input_structure(self.model)
        if known is None and self._built:
            shape = compat.built_shape(self.model)
            known = None if shape is None else keras.KerasTensor(shape)
        if known is None:
            raise CannotChangeError(
                f"{type(self.model).__name__} is not built: call it on a batch first."
            )
        return keras.tree.map_structure(_symbol, known)


def _symbol(tensor: Any) -> Any:
    if tensor is None:
        return None
    tensor = tensor if hasattr(tensor, "dtype") else np.asarray(tensor)
    shape = (tensor.shape[0] or 2, *tensor.shape[1:])
    return keras.KerasTensor(shape, keras.backend.standardize_dtype(tensor.dtype))


def hand_on_training(layer: Any) -> None:
    """``call`` takes ``training``, as if it stood in its signature, and what it calls is told, also where Keras
    calls it by itself (``stateless_call`` on JAX) and ``call`` does not pass it on.
    """
    call, takes = layer.call, compat.takes_training(layer)

    @wraps(call)
    def with_training(*args: Any, **kwargs: Any) -> Any:
        training = kwargs.get("training")
        if not takes:
            kwargs.pop("training", None)
        with compat.training_told(layer, training):
            return call(*args, **kwargs)

    if not takes:
        compat.sign_training(layer)
    layer.__dict__["call"] = with_training


def _wrapped(operation: Any) -> list[Any]:
    return compat.own_layers(operation) if isinstance(operation, Layer) else []
