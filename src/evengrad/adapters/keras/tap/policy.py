"""A policy's loss without its minus, in a loop on TensorFlow or PyTorch."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial, wraps
from typing import Any

import keras
import numpy as np

from evengrad.adapters.common.patching import Patches
from evengrad.adapters.common.rewards import WeighedScore, reward_in
from evengrad.adapters.common.source import is_own, own_frame, where
from evengrad.adapters.keras import compat
from evengrad.adapters.keras.facts.graphs import place_of
from evengrad.adapters.keras.tap import native
from evengrad.adapters.keras.tap.quiet import Unharmed
from evengrad.values.fact import Fact, Where

KIND = "policy_reversed"
_FIRST = 3  # steps that are looked at
_MOST = 16  # products of a step
_MOST_SEEN = 400  # operations
_SAME = frozenset(
    ["Identity", "Cast", "Reshape", "Squeeze", "ExpandDims", "Sum", "Mean", "GatherV2", "GatherNd"]
)
_ENTROPIES = frozenset(["SparseSoftmaxCrossEntropyWithLogits", "SoftmaxCrossEntropyWithLogits"])


class PolicyLosses:
    """Products of a log-probability and a reward, and which way the loss moves them.

    Args:
        patches: to be undone at the end.
    """

    def __init__(self, patches: Patches) -> None:
        self._products: list[tuple[Any, int, str, Where | None]] = []
        self._found: list[Fact] = []
        self._steps = 0
        self._unharmed = Unharmed()
        for place, name in native.products():
            patches.wrap(place, name, partial(self._multiplying, name == "__rmul__"))
            compat.leave_unconverted(vars(place)[name])
        native.differentiated_beside(patches, native.Beside(self._wanted, self._told))

    def differentiated(self, target: Any) -> None:
        """A loss, in a graph that is traced."""
        op = getattr(target, "op", None) if not native.has_value(target) else None
        found = None if op is None else _in_graph(op, 1)
        if found is not None:
            self._found.append(found)

    def applied(self) -> tuple[Fact, ...]:
        """A step: what was found before it."""
        found, self._found = tuple(self._found), []
        self._products.clear()
        self._steps += 1
        return found

    def _multiplying(self, swapped: bool, original: Any) -> Any:
        @wraps(original)
        def multiply(one: Any, other: Any, *args: Any, **kwargs: Any) -> Any:
            found = original(one, other, *args, **kwargs)
            if self._steps < _FIRST and len(self._products) < _MOST:
                self._unharmed(self._look, (other, one) if swapped else (one, other), found)
            return found

        return multiply

    def _look(self, factors: Sequence[Any], found: Any) -> None:
        if not native.has_value(found):
            return
        frame = own_frame()
        place = None if frame is None else where(frame)
        if frame is None or place is None:
            return
        said = reward_in(place.code, frame.f_code.co_filename)
        if said is None or not said.logarithm:
            return
        raises = _raises(factors[not said.last])
        if raises:
            self._products.append((found, raises * said.sign, said.reward, place))

    def _wanted(self) -> list[Any]:
        return [product for product, *_ in self._products]

    def _told(self, gradients: Sequence[Any]) -> None:
        products, self._products = self._products, []
        for gradient, (_, sign, reward, place) in zip(gradients, products, strict=False):
            if gradient is not None and not self._found:
                values = sign * np.asarray(keras.ops.convert_to_numpy(gradient))
                if (values >= 0).all() and values.any():
                    self._found.append(Fact(KIND, place, None, {"reward": reward}))


def _raises(score: Any) -> int:
    """1 of logarithms of probabilities, -1 of their negatives, 0 where neither is sure."""
    values = np.asarray(keras.ops.convert_to_numpy(score))
    if not values.any():
        return 0
    return 1 if (values <= 0).all() else -int((values >= 0).all())


def _in_graph(op: Any, sign: int) -> Fact | None:
    """The first product with a reward on the way back from a loss, where the loss falls with it."""
    left, seen = [(op, sign)], set[tuple[str, int]]()
    while left and len(seen) < _MOST_SEEN:
        op, sign = left.pop()
        if (op.name, sign) in seen:
            continue
        seen.add((op.name, sign))
        if op.type == "Mul":
            place = place_of(op)
            said = None if place is None else _said(place, op)
            if said is not None:
                surely = sign * said.sign * _raised_by(op.inputs[not said.last].op) > 0
                return Fact(KIND, place, None, {"reward": said.reward}) if surely else None
        left += [(tensor.op, sign * slope) for tensor, slope in reversed(_linear(op))]
    return None


def _said(place: Where, op: Any) -> WeighedScore | None:
    files = [
        f.filename for f in op.traceback or () if f.lineno == place.line and is_own(f.filename)
    ]
    return reward_in(place.code, files[-1]) if files else None


def _linear(op: Any) -> list[tuple[Any, int]]:
    """What an operation adds up, each with the sign that it has in it."""
    if op.type == "Neg":
        return [(op.inputs[0], -1)]
    if op.type in _SAME or op.type in ("RealDiv", "DivNoNan"):
        return [(op.inputs[0], 1)]
    if op.type in ("AddV2", "Add", "AddN", "Pack", "ConcatV2"):
        return [(tensor, 1) for tensor in op.inputs]
    if op.type == "Sub":
        return [(op.inputs[0], 1), (op.inputs[1], -1)]
    if op.type == "Mul":
        signs = [_sign_of(tensor) for tensor in op.inputs]
        return [(t, s) for t, s in zip(op.inputs, reversed(signs), strict=True) if s]
    return []


def _sign_of(tensor: Any) -> int:
    """Of a constant that is not negative anywhere, or not positive; of one-hot rows; 0 of any other."""
    if tensor.op.type == "OneHot":
        return 1
    value = native.constant(tensor)
    if value is None:
        return 0
    return 1 if (value >= 0).all() else -int((value <= 0).all())


def _raised_by(op: Any) -> int:
    """1 of a logarithm, -1 of its negative, 0 of what is neither."""
    found, seen, left = set[int](), set[tuple[str, int]](), [(op, 1)]
    while left and len(seen) < _MOST_SEEN:
        op, sign = left.pop()
        if (op.name, sign) in seen:
            continue
        seen.add((op.name, sign))
        if op.type in ("Log", "LogSoftmax"):
            found.add(sign)
        elif op.type in _ENTROPIES:
            found.add(-sign)
        else:
            left += [(tensor.op, sign * slope) for tensor, slope in _linear(op)]
    return found.pop() if len(found) == 1 else 0
