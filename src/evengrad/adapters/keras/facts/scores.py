"""Raw scores where a loss reads probabilities: of a compiled loss by its values, of a tape's by its graph."""

from __future__ import annotations

import inspect
import linecache
from collections.abc import Callable
from typing import Any

import keras
import numpy as np

from evengrad.adapters.common.source import is_own, shown
from evengrad.adapters.keras.backend.differentiate import array
from evengrad.adapters.keras.facts.calls import LossHeard
from evengrad.adapters.keras.facts.graphs import before, place_of
from evengrad.adapters.keras.facts.targets import float64_of
from evengrad.values.fact import Fact, Where

KIND = "scores_raw"
_SLACK = 1e-3  # more than any rounding of a probability
_SHARE = 0.1  # of scores that a clip takes the gradient from (a choice)
_SAME = 1e-3  # of the effect of a change: none
_FELT = 1e-4  # of the loss: an effect, not a rounding
_MOST_SEEN = 400  # operations
_OVERLAPS = ("dice", "tversky")
_VIEWS = frozenset(["Identity", "Reshape", "Squeeze", "ExpandDims", "Cast"])
_LINEAR = frozenset(
    ["BiasAdd", "MatMul", "Conv2D", "Conv3D", "Conv2DBackpropInput", "Einsum", "BatchMatMulV2"]
)
_CARRIED = frozenset(["AddV2", "Add", "Sub", "Mul", "Neg", "Mean"])


def judge_scores(call: LossHeard) -> Fact | None:
    """Of a loss that was called with values, now that it is over; None where it reads what it is given."""
    if not call.own and call.function not in _OVERLAPS:
        return None
    target, scores = float64_of(call.target), float64_of(call.output)
    if target is None or scores is None or target.shape != scores.shape or scores.ndim < 2:
        return None
    if not np.isin(target, (0.0, 1.0)).all() or not np.isfinite(scores).all():
        return None
    outside = (scores < -_SLACK) | (scores > 1 + _SLACK)
    if not outside.any():
        return None
    found = {
        "low": float(scores.min()),
        "high": float(scores.max()),
        "share": float(outside.mean()),
    }
    if not call.own:
        return Fact(KIND, call.where, None, {"how": "overlap", **found})
    loss = _loss(call)
    if loss is None:
        return None
    if found["low"] < -_SLACK and _is_overlap(loss, target, scores):
        return Fact(KIND, _place(call), None, {"how": "overlap", **found})
    if found["share"] >= _SHARE and _is_clipped(loss, scores):
        return Fact(KIND, _place(call), None, {"how": "clamped", **found})
    return None


def _place(call: LossHeard) -> Where | None:
    """Where the user's loss is written; where it was called, if that is not known."""
    own = call.options["self"]
    code = getattr(inspect.unwrap(getattr(own, "fn", None) or type(own).call), "__code__", None)
    if code is None or not is_own(code.co_filename):
        return call.where
    line = linecache.getline(code.co_filename, code.co_firstlineno).strip()
    return Where(shown(code.co_filename), code.co_firstlineno, line)


def _loss(call: LossHeard) -> Callable[[Any], float] | None:
    """The loss of other outputs against the same targets."""
    own, kind = call.options.get("self"), getattr(call.output, "dtype", "float32")
    if own is None:
        return None
    dtype = keras.backend.standardize_dtype(kind)

    def loss(scores: Any) -> float:
        given = keras.ops.convert_to_tensor(scores.astype(dtype))
        return float(np.asarray(array(keras.ops.sum(own(call.target, given)))))

    return loss


def _is_overlap(loss: Callable[[Any], float], target: Any, scores: Any) -> bool:
    """Whether it knows of the scores within the mask their sum alone, and does not grow in proportion to it."""
    shift = _exchanged(target) * float(scores.std() + _SLACK)
    start = loss(scores)
    one = loss(scores + np.maximum(shift, 0)) - start
    if not abs(one) > _FELT * abs(start):
        return False
    if abs(loss(scores + shift) - start) > _SAME * abs(one):
        return False
    twice = loss(scores + 2 * np.maximum(shift, 0)) - start
    return abs(twice - 2 * one) > _FELT * abs(one)


def _exchanged(target: Any) -> Any:
    """1 at half of the places of each sample's mask, -1 at the other half, channel by channel."""
    found = np.zeros(target.shape)
    flat, out = (v.reshape(len(target), -1, target.shape[-1]) for v in (target, found))
    for sample in range(flat.shape[0]):
        for channel in range(flat.shape[2]):
            places = np.flatnonzero(flat[sample, :, channel])
            half = len(places) // 2
            out[sample, places[:half], channel] = 1.0
            out[sample, places[half : 2 * half], channel] = -1.0
    return found


def _is_clipped(loss: Callable[[Any], float], scores: Any) -> bool:
    """Whether it stays as it is wherever those scores are moved that lie beyond 0 and 1, and else does not."""
    below, above = scores < -_SLACK, scores > 1 + _SLACK
    start = loss(scores)
    further = loss(scores - 0.5 * below + 0.5 * above)
    felt = abs(loss(np.clip(scores, 0.3, 0.7)) - start)
    return felt > _FELT * abs(start) and abs(further - start) <= _SAME * _FELT * felt


def raw_in_graph(target: Any) -> Fact | None:
    """Of what a tape differentiates, where TensorFlow has traced it: an overlap of a linear layer's output."""
    for op in before(target):
        if op.type in ("RealDiv", "DivNoNan"):
            over, under = (list(_summed(t.op)) for t in op.inputs)
            products = [o for s in over for o in _views(s) if o.type == "Mul"]
            summed = [_origin(t.op) for s in under for t in _sides(s)]
            for product in products:
                for tensor in product.inputs:
                    made = _origin(tensor.op)
                    if made.type in _LINEAR and any(made is other for other in summed):
                        values = {"how": "overlap", "low": 0.0, "high": 0.0, "share": 0.0}
                        return Fact(KIND, place_of(product), None, values)
    return None


def _summed(op: Any) -> Any:
    """What the sums are of that an expression is made of, linearly."""
    left, seen = [op], set[str]()
    while left and len(seen) < _MOST_SEEN:
        op = left.pop()
        if op.name in seen:
            continue
        seen.add(op.name)
        if op.type == "Sum":
            yield op.inputs[0].op
        elif op.type in _CARRIED or op.type in _VIEWS:
            left += [tensor.op for tensor in reversed(op.inputs)]


def _views(op: Any) -> list[Any]:
    while op.type in _VIEWS:
        op = op.inputs[0].op
    return [op]


def _sides(op: Any) -> Any:
    """Of a sum of two, both; else the thing itself."""
    return op.inputs if op.type in ("AddV2", "Add") and not _is_bias(op) else op.outputs


def _is_bias(op: Any) -> bool:
    return any(_views(t.op)[0].type == "ReadVariableOp" for t in op.inputs)


def _origin(op: Any) -> Any:
    """What made a tensor, seen through changes of its shape and a bias."""
    while op.type in _VIEWS or (op.type in ("AddV2", "Add") and _is_bias(op)):
        op = op.inputs[0].op
    return op
