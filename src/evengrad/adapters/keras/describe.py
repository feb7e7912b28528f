"""A Keras 3 model as a ModelSpec, without running it."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import keras

from evengrad.adapters.keras import compat
from evengrad.adapters.keras.backend.state import is_built, untouched
from evengrad.adapters.keras.spec.placeholders import without_values
from evengrad.adapters.keras.spec.specify import specify
from evengrad.adapters.keras.trace.trace import trace
from evengrad.errors import CannotCheckError
from evengrad.values.message import msg
from evengrad.values.spec import ModelSpec, Shape

TypedInput = tuple[Shape, str]
KerasInputs = tuple[TypedInput, ...] | dict[str, TypedInput] | None

_ABSTRACT: weakref.WeakSet[Any] = weakref.WeakSet()


def describe(model: Any, inputs: KerasInputs = None, *, batch_size: int = 32) -> ModelSpec:
    """The operations of a model in training mode, with the laws of its weights.

    Args:
        model: not yet built it is built, as ``fit`` would; nothing else of it is changed.
        inputs: shapes, batch included, and dtypes; None: the model's own. Where the model knows its inputs'
            dtypes they count.
        batch_size: with the model's own inputs.

    Returns:
        The model as a graph.

    Raises:
        CannotCheckError: it cannot be described; the message says what to do.
    """
    if not isinstance(model, keras.Model):
        raise CannotCheckError(
            msg(
                "Expected a keras.Model, got {kind}. Wrap it: keras.Sequential([layer]).",
                kind=type(model).__name__,
            )
        )
    symbols = _symbols(model, inputs, batch_size)
    _build(model, symbols)
    with untouched(model):
        try:
            traced = trace(model, symbols)
        except Exception as error:
            raise CannotCheckError(
                msg(
                    "{kind} cannot be called on symbolic inputs of shape "
                    "{shapes}: {first_line} Give the input_shape that it takes; if its "
                    "call() hangs on values, `evengrad check` measures it on a batch.",
                    kind=type(model).__name__,
                    shapes=_shapes(symbols),
                    first_line=_first_line(error),
                )
            ) from error
        return specify(model, traced)


def abstract(factory: Callable[[], Any]) -> Any:
    """What the factory builds, with weights that have a shape and an initialiser but no values.

    A model of any size fits. It can be described, not run.
    """
    with without_values():
        model = factory()
    if isinstance(model, keras.Model):
        _ABSTRACT.add(model)
    return model


def _build(model: Any, symbols: Any) -> None:
    if is_built(model):
        return
    try:
        with without_values() if model in _ABSTRACT else nullcontext():
            compat.symbolic_result(model, symbols, training=False)
    except Exception as error:
        raise CannotCheckError(
            msg(
                "{kind} cannot be built on inputs of shape {shapes}: "
                "{first_line} Give the input_shape that it takes, or call it once on a batch.",
                kind=type(model).__name__,
                shapes=_shapes(symbols),
                first_line=_first_line(error),
            )
        ) from error


# --- inputs ---------------------------------------------------------------------------------------


def _symbols(model: Any, inputs: KerasInputs, batch_size: int) -> Any:
    """Symbolic tensors in the structure in which the model takes them."""
    own = _own(model)
    if inputs is None:
        if own is None:
            raise CannotCheckError(
                msg(
                    "Expected input_shape=..., because {kind} is not built and does not know "
                    "its inputs: give the shape of one sample, such as input_shape=(32, 32, 3).",
                    kind=type(model).__name__,
                )
            )
        return keras.tree.map_structure(lambda t: _filled(t, batch_size), own)
    if isinstance(inputs, dict):
        return _by_name(own, inputs)
    given = [keras.KerasTensor(shape, dtype) for shape, dtype in inputs]
    if own is None:
        return given[0] if len(given) == 1 else given
    known = keras.tree.flatten(own)
    if len(known) != len(given):
        raise CannotCheckError(
            msg(
                "Expected {number} input shapes, one for each of {name}, got {number2}.",
                number=len(known),
                name=[t.name for t in known],
                number2=len(given),
            )
        )
    checked = [_checked(t, g) for t, g in zip(known, given, strict=True)]
    return keras.tree.pack_sequence_as(own, checked)


def _own(model: Any) -> Any:
    """The model's symbolic inputs, if it has some."""
    return compat.input_structure(model)


def _filled(tensor: Any, batch_size: int) -> Any:
    shape = (batch_size if tensor.shape[0] is None else tensor.shape[0], *tensor.shape[1:])
    if any(n is None for n in shape):
        raise CannotCheckError(
            msg(
                "Expected every length to be known, but the input {name!r} has the shape "
                "{shape}. Say which to take: input_shape=(...), without the batch.",
                name=tensor.name,
                shape=tuple(tensor.shape),
            )
        )
    return keras.KerasTensor(shape, tensor.dtype)


def _checked(known: Any, given: Any) -> Any:
    """The given shape with the known dtype; an error where they do not fit."""
    fits = len(known.shape) == len(given.shape) and all(
        k is None or k == g for k, g in zip(known.shape, given.shape, strict=True)
    )
    if not fits:
        raise CannotCheckError(
            msg(
                "Expected input_shape={shape} for the input {name!r}, got {shape2}.",
                shape=tuple(known.shape[1:]),
                name=known.name,
                shape2=tuple(given.shape[1:]),
            )
        )
    return keras.KerasTensor(given.shape, known.dtype)


def _by_name(own: Any, inputs: dict[str, TypedInput]) -> Any:
    given = {name: keras.KerasTensor(shape, dtype) for name, (shape, dtype) in inputs.items()}
    if own is None:
        return given
    known = own if isinstance(own, dict) else {t.name: t for t in keras.tree.flatten(own)}
    if set(known) != set(given):
        raise CannotCheckError(
            msg(
                "Expected input shapes by the names {known}, got {given}.",
                known=sorted(known),
                given=sorted(given),
            )
        )
    checked = {name: _checked(t, given[name]) for name, t in known.items()}
    if isinstance(own, dict):
        return checked
    return keras.tree.pack_sequence_as(own, [checked[t.name] for t in keras.tree.flatten(own)])


def _shapes(symbols: Any) -> str:
    return ", ".join(str(tuple(t.shape)) for t in keras.tree.flatten(symbols))


def _first_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    text = (lines or [type(error).__name__])[0][:200]
    return text if text.endswith(".") else f"{text}."
