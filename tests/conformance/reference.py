"""The budget of a conformance network in plain float64 NumPy: finite formulas, no framework.

Each operation returns its output and a function from dL/dy to dL/dx. Slow and plain on purpose.
"""

import numpy as np
from networks import EPSILON, steps


def patches(x, stride, pad):
    """(N, H', W', 3, 3, C) windows of a padded image, and how to add windows back onto it."""
    padded = np.pad(x, ((0, 0), (pad, pad), (pad, pad), (0, 0)))
    side = (padded.shape[1] - 3) // stride + 1
    spots = [(i, j) for i in range(side) for j in range(side)]
    windows = np.stack(
        [padded[:, i * stride : i * stride + 3, j * stride : j * stride + 3] for i, j in spots], 1
    ).reshape(len(x), side, side, 3, 3, x.shape[-1])

    def back(grad):
        out = np.zeros_like(padded)
        flat = grad.reshape(len(x), side * side, 3, 3, x.shape[-1])
        for k, (i, j) in enumerate(spots):
            out[:, i * stride : i * stride + 3, j * stride : j * stride + 3] += flat[:, k]
        end = out.shape[1] - pad
        return out[:, pad:end, pad:end]

    return windows, back


def conv(x, w):
    windows, back = patches(x, 1, 1)
    y = np.einsum("nhwijc,ijco->nhwo", windows, w["kernel"]) + w["bias"]
    return y, lambda g: back(np.einsum("nhwo,ijco->nhwijc", g, w["kernel"]))


def depthwise(x, w):
    windows, back = patches(x, 2, 0)
    kernel = w["kernel"][..., 0]
    y = np.einsum("nhwijc,ijc->nhwc", windows, kernel) + w["bias"]
    return y, lambda g: back(np.einsum("nhwc,ijc->nhwijc", g, kernel))


def dense(x, w):
    return x @ w["kernel"] + w["bias"], lambda g: g @ w["kernel"].T


def normalise(x, w, axes):
    mean, var = x.mean(axes, keepdims=True), x.var(axes, keepdims=True)
    sd = np.sqrt(var + EPSILON)
    z = (x - mean) / sd

    def back(g):
        g = g * w["gamma"]
        centred = g - g.mean(axes, keepdims=True)
        return (centred - z * (g * z).mean(axes, keepdims=True)) / sd

    return z * w["gamma"] + w["beta"], back


def operation(kind, x, w):
    if kind == "conv":
        return conv(x, w)
    if kind == "depthwise":
        return depthwise(x, w)
    if kind == "dense":
        return dense(x, w)
    if kind == "bn":
        return normalise(x, w, tuple(range(x.ndim - 1)))
    if kind == "ln":
        return normalise(x, w, (-1,))
    if kind == "relu":
        return np.maximum(x, 0), lambda g: g * (x > 0)
    if kind == "tanh":
        return np.tanh(x), lambda g: g * (1 - np.tanh(x) ** 2)
    assert kind == "flatten"
    return x.reshape(len(x), -1), lambda g: g.reshape(x.shape)


def cross_entropy_gradient(logits, y):
    p = np.exp(logits - logits.max(1, keepdims=True))
    p /= p.sum(1, keepdims=True)
    p[np.arange(len(y)), y] -= 1
    return p / len(y)


def budget(name, weights, batch):
    """[(kind, log gain)] of every operation, forward order, and the log of the total growth."""
    x = batch[0].astype(np.float64)
    tape, kept, outputs = [], [], []
    for kind, layer in steps(name):
        if kind == "save":
            kept.append(len(tape))
        elif kind == "add":
            tape.append(("add", kept.pop(), None))
            source = tape[-1][1]
            x = x + outputs[source - 1]
            outputs.append(x)
        else:
            own = {key[1]: v.astype(np.float64) for key, v in weights.items() if key[0] == layer}
            x, back = operation(kind, x, own)
            tape.append((kind, None, back))
            outputs.append(x)
    grad = cross_entropy_gradient(x, batch[1])
    top = np.linalg.norm(grad)
    waiting, gains = {}, []
    for index in reversed(range(len(tape))):
        kind, source, back = tape[index]
        grad = grad + waiting.pop(index, 0.0)
        above = np.linalg.norm(grad)
        if kind == "add":
            waiting[source - 1] = waiting.get(source - 1, 0.0) + grad
            gains.append(("add", 0.5 * np.log(2.0)))
        else:
            grad = back(grad)
            gains.append((kind, np.log(np.linalg.norm(grad) / above)))
    return gains[::-1], np.log(np.linalg.norm(grad) / top)
