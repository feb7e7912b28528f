"""The gradients of a replay at its taps and weights, by the backend that Keras runs on."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any, Protocol

import keras
import numpy as np
import numpy.typing as npt


class TensorTap(Protocol):
    """Marks a tensor to be differentiated by, and hands it back. fresh: for this reader alone."""

    def __call__(self, key: str, tensor: Any, fresh: bool = False, /) -> Any: ...


class ForwardRun(Protocol):
    """A forward pass: (tap, trainable values, other values, data) -> (scalar, tensors to keep)."""

    def __call__(
        self, tap: TensorTap, weights: list[Any], others: list[Any], data: Any, /
    ) -> tuple[Any, Any]: ...


@dataclass(slots=True)
class Gradients:
    """What one differentiation gave, as backend tensors.

    Attributes:
        value: of the scalar.
        kept: the forward's tensors, by name.
        taps: gradients by name; None where no path leads to the scalar.
        weights: gradients in order; None where no path leads to the scalar.
    """

    value: Any
    kept: dict[str, Any]
    taps: dict[str, Any]
    weights: list[Any]


def differentiate(run: ForwardRun, weights: list[Any], others: list[Any], data: Any) -> Gradients:
    """Run forward once and backward once. The values are those of Keras variables, in order."""
    found: Gradients = _backend().differentiate(run, weights, others, data)
    return found


def forward(run: ForwardRun, others: list[Any], data: Any) -> Callable[[list[Any]], float]:
    """The scalar as a function of the trainable values, without gradients; compiled where that pays."""
    made: Callable[[list[Any]], float] = _backend().forward(run, others, data)
    return made


def slope(run: ForwardRun, others: list[Any], data: Any) -> Callable[[list[Any]], list[Any]]:
    """The scalar's gradients as a function of the trainable values, for many calls."""
    make = getattr(_backend(), "slope", None)
    if make is not None:
        made: Callable[[list[Any]], list[Any]] = make(run, others, data)
        return made
    return lambda weights: differentiate(run, weights, others, data).weights


def curvature(
    run: ForwardRun, weights: list[Any], others: list[Any], data: Any
) -> Callable[[list[Any]], list[Any]]:
    """Hessian-vector products of the scalar at those trainable values."""
    made: Callable[[list[Any]], list[Any]] = _backend().curvature(run, weights, others, data)
    return made


def isolated() -> AbstractContextManager[None]:
    """Keeps random states, and other listeners of the backend away, where it has any."""
    context: AbstractContextManager[None] = _backend().isolated()
    return context


def native_functions_seen() -> AbstractContextManager[None]:
    """While it lasts, the backend's own functions on symbolic tensors become operations, if they can."""
    context: AbstractContextManager[None] = _backend().seen()
    return context


def placeholder(variable: Any) -> Any:
    """What a variable without values holds on this backend: a tensor of the meta device, or nothing."""
    make = getattr(_backend(), "placeholder", None)
    return None if make is None else make(variable)


def precise() -> AbstractContextManager[None]:
    """While it lasts, float64 tensors stay float64."""
    context = getattr(_backend(), "precise", nullcontext)
    made: AbstractContextManager[None] = context()
    return made


def array(tensor: Any) -> npt.NDArray[Any]:
    """A backend tensor as NumPy, short floats as float32; to be read only, it may share memory.

    (``convert_to_numpy`` copies on TensorFlow, which costs more than all that is read here.)
    """
    if keras.backend.standardize_dtype(tensor.dtype) in ("bfloat16", "float16"):
        tensor = keras.ops.cast(tensor, "float32")
    if keras.backend.backend() == "torch":
        tensor = keras.ops.convert_to_numpy(tensor)
    return np.asarray(keras.ops.convert_to_tensor(tensor) if hasattr(tensor, "assign") else tensor)


def _backend() -> Any:
    return importlib.import_module(f"evengrad.adapters.keras.backend.{keras.backend.backend()}")
