"""Weights that a loop on TensorFlow moves itself, without an optimizer: seen as plain gradient descent."""

from __future__ import annotations

from functools import partial, wraps
from typing import Any

import keras
from keras import ops

from evengrad.adapters.common.patching import Patches
from evengrad.adapters.keras import compat
from evengrad.adapters.keras.tap import bitwise, native
from evengrad.adapters.keras.tap.arithmetic import dense
from evengrad.adapters.keras.tap.listening import Applied, Listening
from evengrad.adapters.keras.tap.native import Differentiated
from evengrad.adapters.keras.tap.quiet import Unharmed

_ROUNDING = 1e-4
_SIGNS = {"assign_sub": 1.0, "assign_add": -1.0}


class ByHand:
    """Gives an SGD of ours the gradients of each step just before the script moves the first of their weights,
    and takes back what that has moved: whoever watches optimizers then sees the script's step.

    Args:
        listening: to a training.
        patches: to be undone at the end.
    """

    def __init__(self, listening: Listening, patches: Patches) -> None:
        self._optimizer: Any = None
        self._pending: dict[int, tuple[Any, Any]] = {}
        self._busy = self._off = False
        self._quiet = Unharmed()
        if keras.backend.backend() != "tensorflow":
            return
        listening.differentiated.append(self._differentiated)
        listening.applied.append(self._applied)
        for name in ("assign", *_SIGNS):
            patches.wrap(keras.Variable, name, partial(self._assigning, name))
            compat.leave_unconverted(vars(keras.Variable)[name])

    def _differentiated(self, event: Differentiated) -> None:
        pairs = zip(event.sources, event.gradients, strict=False)
        found = {id(v): (v, g) for v, g in pairs if g is not None}
        if all(isinstance(v, keras.Variable) for v, _ in found.values()):
            self._pending = found

    def _applied(self, _: Applied) -> None:
        """By an optimizer of the script's: it needs none of ours."""
        if not self._busy:
            self._off, self._pending = True, {}

    def _assigning(self, name: str, original: Any) -> Any:
        @wraps(original)
        def assign(variable: Any, value: Any, *args: Any, **kwargs: Any) -> Any:
            if self._pending and not self._busy and not self._off and id(variable) in self._pending:
                pending, self._pending = self._pending, {}
                self._quiet(self._step, pending, variable, value, name)
            return original(variable, value, *args, **kwargs)

        return assign

    def _step(
        self, pending: dict[int, tuple[Any, Any]], variable: Any, value: Any, name: str
    ) -> None:
        variables, gradients = (list(side) for side in zip(*pending.values(), strict=True))
        self._busy = True
        try:
            if self._optimizer is None:
                with native.outside():
                    self._optimizer = keras.optimizers.SGD(0.01)
                    self._optimizer.build(variables)
            rate = _rate(variable, pending[id(variable)][1], value, name)
            if not (native.has_value(rate) and self._is_known(float(rate))):
                self._optimizer.learning_rate.assign(rate)
            before = bitwise.copies([v.value for v in variables], False)
            given = bitwise.copies([dense(g) for g in gradients], False)
            try:
                self._optimizer.apply(given, variables)
            finally:
                for one, old in zip(variables, before, strict=True):
                    one.assign(old)
        finally:
            self._busy = False

    def _is_known(self, rate: float) -> bool:
        """Whether it is the one of before, but for rounding."""
        known = float(self._optimizer.learning_rate)
        return abs(rate - known) <= _ROUNDING * known


def _rate(variable: Any, gradient: Any, value: Any, name: str) -> Any:
    """By how much of its gradient a weight is moved."""
    gradient = ops.convert_to_tensor(gradient)
    value = ops.cast(ops.convert_to_tensor(value), gradient.dtype)
    moved = _SIGNS[name] * value if name in _SIGNS else variable.value - value
    square = ops.sum(ops.square(gradient))
    share = ops.sum(moved * gradient) / ops.where(square > 0, square, ops.ones_like(square))
    return ops.cast(ops.abs(share), "float32")
