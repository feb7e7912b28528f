"""What a loop of the script's own is to learn: the targets of the one loss that it differentiates."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np

from evengrad.adapters.keras.change.data import kind_of
from evengrad.adapters.keras.tap import native
from evengrad.adapters.keras.tap.called import CalledLoss
from evengrad.adapters.keras.tap.lesson import TOLD, is_mean
from evengrad.adapters.keras.tap.native import Differentiated
from evengrad.recording.lesson import Lesson

_VIEWS = ("Identity", "Cast", "Reshape", "Squeeze", "ExpandDims")


class LoopLesson:
    """Of one optimizer. Of a step that is traced, the targets are taken from the arguments of its calls."""

    def __init__(self) -> None:
        self._lesson = Lesson()
        self._kind = ""
        self._argument: int | None = None  # of the traced function, that the targets are

    def differentiated(self, event: Differentiated, losses: list[CalledLoss]) -> bool:
        """A loss of this optimizer's. Returns whether the run is to be told now."""
        if self._lesson.full:
            return False
        own = next((one for one in losses if one.value is event.target), None)
        plain = own is not None and own.weight is None and is_mean(own.loss)
        if own is None or not plain or len(keras.tree.flatten(own.targets)) != 1:
            self._argument = None
            return self._passed(())
        self._kind = kind_of(own.loss)
        target = keras.tree.flatten(own.targets)[0]
        if not native.has_value(target):
            self._argument = _argument(target)
            return False
        return self._take(target)

    def called(self, args: Any) -> bool:
        """A traced function was called with values. Returns whether the run is to be told now."""
        given = _tensors(args)
        if self._lesson.full or self._argument is None or self._argument >= len(given):
            return False
        return self._take(given[self._argument])

    def values(self) -> dict[str, Any]:
        """As ``recording.lesson`` has them."""
        return self._lesson.values()

    def _take(self, target: Any) -> bool:
        values = target if isinstance(target, np.ndarray) else keras.ops.convert_to_numpy(target)
        self._lesson.targets(self._kind, np.asarray(values))
        return self._passed((1.0,))

    def _passed(self, own: tuple[float, ...]) -> bool:
        self._lesson.backpropagated(1.0, own)
        return self._lesson.full or self._lesson.passes in TOLD


def _argument(target: Any) -> int | None:
    """Which argument of the function that is traced a tensor of it is, seen through changes of its shape."""
    op = target.op
    while op.type in _VIEWS:
        op = op.inputs[0].op
    inputs = getattr(op.graph, "inputs", ())
    return next((i for i, one in enumerate(inputs) if one.op is op), None)


def _tensors(args: Any) -> list[Any]:
    """Those that a traced function has inputs for, in its order."""
    return [
        leaf
        for leaf in keras.tree.flatten(args)
        if hasattr(leaf, "shape") and hasattr(leaf, "dtype")
    ]
