"""Reads and writes Keras variables between two steps, wherever the backend has their values then."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import keras
import numpy as np
from keras import ops

from evengrad.adapters.keras import compat


class Direct:
    """TensorFlow and PyTorch: the variables have their values."""

    def read(self, variable: Any) -> Any:
        """As a NumPy array; may share its memory."""
        return ops.convert_to_numpy(variable)

    def write(self, variable: Any, value: Any) -> None:
        """At once."""
        variable.assign(value)

    def value(self, variable: Any) -> Any:
        """As a tensor that a later step does not change."""
        value = ops.convert_to_tensor(variable)
        if keras.backend.backend() == "torch":
            return value.detach().clone()
        return np.array(value)  # TensorFlow may update it in place

    @contextmanager
    def filled(self) -> Iterator[None]:
        """While it lasts, each variable has its value."""
        yield


class InState:
    """JAX: ``fit`` hands the values round in a state of lists. state: None while they are in the variables."""

    def __init__(self, model: Any) -> None:
        self.state: Sequence[list[Any]] | None = None
        parts = (
            model.trainable_variables,
            model.non_trainable_variables,
            model.optimizer.variables,
            model.metrics_variables,
        )
        self._places = {id(v): (k, i) for k, part in enumerate(parts) for i, v in enumerate(part)}
        self._parts = parts

    def place(self, variable: Any) -> tuple[int, int]:
        """Which list of the state, and where in it."""
        return self._places[id(variable)]

    def read(self, variable: Any) -> Any:
        """As a NumPy array."""
        return np.asarray(self._now(variable))

    def write(self, variable: Any, value: Any) -> None:
        """For the steps to come."""
        if self.state is None or id(variable) not in self._places:
            variable.assign(value)
            return
        part, i = self.place(variable)
        old = self.state[part][i]
        self.state[part][i] = ops.convert_to_tensor(np.array(value), dtype=str(old.dtype))

    def value(self, variable: Any) -> Any:
        """As a tensor that a later step does not change."""
        return ops.copy(self._now(variable))

    def _now(self, variable: Any) -> Any:
        if self.state is None or id(variable) not in self._places:
            return variable.value
        part, i = self.place(variable)
        return self.state[part][i]

    @contextmanager
    def filled(self) -> Iterator[None]:
        """While it lasts, each variable has its value; ``fit`` had taken it away to save memory."""
        if self.state is None:
            yield
            return
        variables = [v for part in self._parts for v in part]
        had = [compat.value_of(v) for v in variables]
        for variable in variables:
            compat.hold(variable, self._now(variable))
        try:
            yield
        finally:
            for variable, value in zip(variables, had, strict=True):
                compat.hold(variable, value)


Access = Direct | InState


def access_to(model: Any) -> Access:
    """For the backend at hand; the model's optimizer must be built."""
    return InState(model) if keras.backend.backend() == "jax" else Direct()
