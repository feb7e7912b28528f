"""Products of two tensors, softmax and attention, the factors taken for independent."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from evengrad.theory import kernel as k
from evengrad.theory.concentration import causal_passed, causal_squares, passed, squares
from evengrad.theory.field import ONES, Field, Fields, Signal, Signals, gaussian, united
from evengrad.theory.kernel import Kernel
from evengrad.theory.maps import OperationMap
from evengrad.values.spec import Array, Attention, Einsum, Shape, Softmax


def _sizes(equation: str, left: Shape, right: Shape, out: Shape) -> dict[str, int]:
    inputs, output = equation.split("->")
    first, second = inputs.split(",")
    found: dict[str, int] = {}
    for letters, shape in ((first, left), (second, right), (output, out)):
        for letter, n in zip(letters, shape, strict=True):
            found[letter] = max(found.get(letter, 1), n)
    return found


def _adjoint(equation: str, operand: int) -> str:
    """Equation of the gradient at an operand, from the gradient at the output and the other operand."""
    inputs, output = equation.split("->")
    parts = inputs.split(",")
    return f"{output},{parts[1 - operand]}->{parts[operand]}"


def _einsum(op: Einsum, inputs: Fields, shapes: Sequence[Shape]) -> list[Field]:
    left, right = (united(f) for f in inputs)
    sizes = _sizes(op.equation, left.shape, right.shape, shapes[0])
    kernel = k.contract(left.kernel, right.kernel, op.equation, sizes)
    count = math.prod(n for c, n in sizes.items() if c not in op.equation.split("->")[1])
    return [gaussian(shapes[0], kernel, count * left.mean * right.mean)]


def _einsum_back(
    op: Einsum, inputs: Fields, outputs: Fields, signals: Signals
) -> list[Signal | None]:
    signal = signals[0]
    if signal is None:
        return [None, None]
    sizes = _sizes(op.equation, inputs[0].shape, inputs[1].shape, outputs[0].shape)
    found: list[Signal | None] = []
    for operand in (0, 1):
        other = united(inputs[1 - operand]).kernel
        kernel = k.contract(signal.kernel, other, _adjoint(op.equation, operand), sizes)
        found.append(replace(signal, kernel=kernel, slope=ONES, profile={}))
    return found


# --- softmax --------------------------------------------------------------------------------------


def softmax(logits: Kernel, axis: int, count: float, tokens: int = 0) -> Kernel:
    """Second moments of softmax over an axis of so many places, the logits Gaussian: E[a a'] of one place
    by the covariance of the two logits, and what makes rows sum to one elsewhere. tokens: under a causal
    mask, how many; count is their harmonic mean then.
    """
    shared = np.take(logits, 0, axis + 1) - np.take(logits, 1, axis + 1)
    here = np.empty_like(shared)
    for index, covariance in np.ndenumerate(shared):
        shared_by, below = float(covariance), math.exp(min(float(covariance), 0.0))
        found = causal_squares(shared_by, tokens) if tokens else squares(shared_by, count)
        here[index] = below * found / count
    there = (1 - count * here) / (count * max(count - 1, 1)) if count > 1 else here
    return np.stack([here, np.maximum(there, 0.0)], axis + 1)


def softmax_back(weights: Kernel, delta: Kernel, axis: int, places: int, left: float) -> Kernel:
    """Of dl = a (d - sum(a d)), whose sum over the axis is zero. left: as ``concentration.passed``."""
    here = np.take(weights, 0, axis + 1)
    here = here * (np.take(delta, 0, axis + 1) - np.take(delta, 1, axis + 1)) * left
    return np.stack([here, -here / max(places - 1, 1)], axis + 1)


def _variance(logits: Kernel, axis: int) -> float:
    """Of the logits along an axis, what all of them share taken off."""
    index: tuple[Any, ...] = (0,) * logits.ndim
    other = (*index[: axis + 1], 1, *index[axis + 2 :])
    return float(logits[index] - logits[other])


def _softmax(op: Softmax, inputs: Fields, shapes: Sequence[Shape]) -> list[Field]:
    source = united(inputs[0])
    n = source.shape[op.axis]
    if op.log:
        kernel = source.kernel - k.pair_mean(source.kernel, {op.axis: n}, keep=True)
        return [gaussian(shapes[0], kernel + math.log(n) ** 2, np.array([-math.log(n)]))]
    return [gaussian(shapes[0], softmax(source.kernel, op.axis, n), np.array([1 / n]))]


def _softmax_back(
    op: Softmax, inputs: Fields, outputs: Fields, signals: Signals
) -> list[Signal | None]:
    signal, source = signals[0], inputs[0]
    if signal is None:
        return [None]
    n = source.shape[op.axis]
    if op.log:
        kernel = signal.kernel - k.pair_mean(signal.kernel, {op.axis: n}, keep=True)
    else:
        left = passed(_variance(united(source).kernel, op.axis), n)
        kernel = softmax_back(outputs[0].kernel, signal.kernel, op.axis, n, left)
    return [replace(signal, kernel=kernel, slope=ONES, profile={})]


# --- attention ------------------------------------------------------------------------------------


class _Attend:
    """softmax(scale q k^T) v, as its inner tensors."""

    def __init__(self, op: Attention, inputs: Fields) -> None:
        self.fields = [united(f) for f in inputs]
        q, key, v = self.fields
        lead = "abcdefg"[: len(q.shape) - 2]
        self.scores = f"{lead}iz,{lead}jz->{lead}ij"
        self.mixing = f"{lead}ij,{lead}jy->{lead}iy"
        self.sizes = dict(zip(lead, q.shape, strict=False)) | {
            "i": q.shape[-2],
            "j": key.shape[-2],
            "z": q.shape[-1],
            "y": v.shape[-1],
        }
        scale = q.shape[-1] ** -0.5 if op.scale is None else op.scale
        self.scale = scale
        logits = k.contract(q.kernel, key.kernel, self.scores, self.sizes) * scale**2
        self.axis = len(q.shape) - 1
        self.count = _effective(self.sizes["j"]) if op.causal else float(self.sizes["j"])
        tokens = self.sizes["j"] if op.causal else 0
        self.weights = softmax(logits, self.axis, self.count, tokens)
        variance = _variance(logits, self.axis)
        self.left = causal_passed(variance, tokens) if tokens else passed(variance, self.count)
        if op.causal:  # a row has so many weights on average, the rest are zero
            share = self.count / self.sizes["j"]
            factor = np.array([share, share**2])
            self.weights = self.weights * factor.reshape((1,) * (self.weights.ndim - 1) + (2,))
        if op.dropout:
            self.weights = self.weights.copy()
            index: tuple[Any, ...] = (slice(None), *(0,) * (self.weights.ndim - 1))
            self.weights[index] /= 1 - op.dropout

    def out(self) -> Kernel:
        return k.contract(self.weights, self.fields[2].kernel, self.mixing, self.sizes)

    def back(self, delta: Kernel) -> list[Kernel]:
        q, key, v = self.fields
        at_v = k.contract(delta, self.weights, _adjoint(self.mixing, 1), self.sizes)
        at_weights = k.contract(delta, v.kernel, _adjoint(self.mixing, 0), self.sizes)
        at_logits = softmax_back(self.weights, at_weights, self.axis, self.sizes["j"], self.left)
        at_logits = at_logits * self.scale**2
        # k_j and v_j come from one token: E[(x_j x_j')^2] = 1/width adds up over the other tokens.
        width = math.prod(key.shape[1:-2]) * key.shape[-1]
        seen = 1 + (self.count - 1) / width
        at_q = k.contract(at_logits, key.kernel, _adjoint(self.scores, 0), self.sizes) * seen
        at_k = k.contract(at_logits, q.kernel, _adjoint(self.scores, 1), self.sizes)
        return [at_q, at_k, at_v]


def _effective(tokens: int) -> float:
    """Tokens seen under a causal mask: sum over rows of 1/i is what uniform attention leaves of the
    variance, so the mean is harmonic.
    """
    return tokens / sum(1 / i for i in range(1, tokens + 1))


def _attention(op: Attention, inputs: Fields, shapes: Sequence[Shape]) -> list[Field]:
    inside = _Attend(op, inputs)
    kernel = inside.out()
    profile = {}
    if op.causal:
        v = inside.fields[2].kernel
        own, other = k.same(v, range(v.ndim - 1)), v[(0, *_apart(v.ndim - 1))]
        seen = 1 / np.arange(1, shapes[0][-2] + 1)
        line = seen * float(own[0]) + (1 - seen) * max(float(other), 0.0)
        profile = {len(shapes[0]) - 2: line / max(float(line.mean()), 1e-300)}
    return [gaussian(shapes[0], kernel, inputs[2].mean[:1], profile=profile)]


def _apart(ndim: int) -> tuple[int, ...]:
    """The entry of two tokens of one sample, in one head and feature."""
    return tuple(1 if a == ndim - 2 else 0 for a in range(ndim))


def _later(tokens: int) -> tuple[Array, Array]:
    """Under a causal mask, what the gradient of a token's query, and of its key or value, is made of: the
    i-th row has i weights of about 1/i.
    """
    rows = 1 / np.arange(1, tokens + 1)
    queries = rows / rows.mean()
    keys = np.cumsum((rows**2)[::-1])[::-1]
    return queries, keys / keys.mean()


def _attention_back(
    op: Attention, inputs: Fields, outputs: Fields, signals: Signals
) -> list[Signal | None]:
    signal = signals[0]
    if signal is None:
        return [None, None, None]
    found: list[Signal | None] = []
    tokens = inputs[0].shape[-2]
    lines = _later(tokens) if op.causal and inputs[1].shape[-2] == tokens else None
    for i, kernel in enumerate(_Attend(op, inputs).back(signal.kernel)):
        source = inputs[i]
        shared = math.prod(inputs[0].shape[:-2]) / math.prod(source.shape[:-2])
        profile = {} if lines is None else {len(source.shape) - 2: lines[min(i, 1)]}
        found.append(replace(signal, kernel=kernel * shared, slope=ONES, profile=profile))
    return found


MAPS = {
    Einsum: OperationMap(_einsum, _einsum_back),
    Softmax: OperationMap(_softmax, _softmax_back),
    Attention: OperationMap(_attention, _attention_back),
}
